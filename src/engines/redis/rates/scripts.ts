// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const decisionPart = `-- Decisions by this server's clock, in whole milliseconds. What a key has lies in KEYS[1] alone, and ends by itself.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Instants further away than numbers are exact.
local forever = 9007199254740991

local function instant(at)
  return string.format('%.0f', math.max(now + 1, math.min(at, forever)))
end

local function allowed(remaining)
  return { 1, 0, remaining }
end

local function refused(remaining, retry_after)
  return { 0, math.max(1, math.min(math.ceil(retry_after), forever)), math.max(0, remaining) }
end
`;

const pairPart = `-- A state of two numbers (f64 each): the instant of the last change, and an amount at it.
local function load()
  local packed = call('GET', KEYS[1])
  if not packed then return nil end
  return struct.unpack('<dd', packed)
end

local function save(amount, ends)
  call('SET', KEYS[1], struct.pack('<dd', now, amount), 'PXAT', instant(ends))
end

-- So much may be missing, lest rounding refuse what has just become free. It is taken all the same, so it never adds up.
local tolerance = 1e-9

local function whole(units)
  return math.max(0, math.min(math.floor(units + tolerance), forever))
end
`;

const logPart = `-- A list of what was taken: instant, units, instant, units, …, oldest first; its last element says how many units that is.
-- Instants only grow; what they count, milliseconds or parts of a window, and how long one counts is up to who includes this.
local newest, newest_units, counted = -math.huge, 0, 0
local chunk = 64

local function digits(number)
  return string.format('%.0f', number)
end

local function clear()
  call('DEL', KEYS[1])
  newest, newest_units, counted = -math.huge, 0, 0
end

local function add(at, units)
  local total = digits(counted + units)
  if newest == at then
    newest_units = newest_units + units
    call('LSET', KEYS[1], -2, digits(newest_units))
    call('LSET', KEYS[1], -1, total)
  else
    if counted > 0 then
      call('LSET', KEYS[1], -1, digits(at))
      call('RPUSH', KEYS[1], digits(units), total)
    else
      call('RPUSH', KEYS[1], digits(at), digits(units), total)
    end
    newest, newest_units = at, units
  end
  counted = counted + units
end

-- Takes out the oldest for which it holds; never the newest.
local function drop_while(holds)
  local dropped = 0
  repeat
    local pairs_read = call('LRANGE', KEYS[1], 0, chunk * 2 - 1)
    local out = 0
    while out + 4 < #pairs_read and holds(tonumber(pairs_read[out + 1]), tonumber(pairs_read[out + 2])) do
      counted = counted - tonumber(pairs_read[out + 2])
      out = out + 2
    end
    if out > 0 then call('LPOP', KEYS[1], out) end
    dropped = dropped + out
  until out + 4 < chunk * 2
  if dropped > 0 then call('LSET', KEYS[1], -1, digits(counted)) end
end

-- Reads what counts at this instant; answers whether the clock was set back, and all of it counts as taken at this instant.
local function open(at, is_out)
  local tail = call('LRANGE', KEYS[1], -3, -1)
  if not tail[3] then return false end
  newest, newest_units, counted = tonumber(tail[1]), tonumber(tail[2]), tonumber(tail[3])
  if newest > at then
    local all = counted
    clear()
    add(at, all)
    return true
  end
  if is_out(newest) then clear() else drop_while(is_out) end
  return false
end

-- The newest instant that has to be out until at most so many units count.
local function last_out(most)
  local left, from = counted, 0
  while true do
    local pairs_read = call('LRANGE', KEYS[1], from, from + chunk * 2 - 1)
    for i = 1, #pairs_read - 1, 2 do
      left = left - tonumber(pairs_read[i + 1])
      if left <= most then return tonumber(pairs_read[i]) end
    end
    if #pairs_read < chunk * 2 then return newest end
    from = from + chunk * 2
  end
end
`;

export const enter: Script = {
  name: "rates/enter",
  sha: "c53f15231c6808f403661e5bb56e422bd4657986",
  source: `-- Asks for a permit.
-- KEYS[1] sorted set: p<permit> -> when it ends · t -> minus the instant of the last change
-- ARGV    permit · limit · hold in ms
-- Answers {1 when allowed or 0, after how many ms the first permit ends by itself, permits that are left}

${decisionPart}
local member, limit, hold = 'p' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function lasts()
  local last = call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')
  call('PEXPIREAT', KEYS[1], instant(tonumber(last[2])))
end

local changed = -(tonumber(call('ZSCORE', KEYS[1], 't') or now * -1))
if changed > now then
  -- The clock was set back: everything is as it was when it was last changed.
  local permits = call('ZRANGE', KEYS[1], 0, 'inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #permits, 2 do
    call('ZADD', KEYS[1], string.format('%.0f', permits[i + 1] - changed + now), permits[i])
  end
  call('ZADD', KEYS[1], string.format('%.0f', -now), 't')
  lasts()
end
call('ZREMRANGEBYSCORE', KEYS[1], 0, now)
local inside = math.max(0, call('ZCARD', KEYS[1]) - 1)
if not call('ZSCORE', KEYS[1], member) then
  if inside >= limit then
    local first = call('ZRANGE', KEYS[1], 0, 'inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    return refused(limit - inside, first[2] - now)
  end
  inside = inside + 1
end
call('ZADD', KEYS[1], string.format('%.0f', -now), 't', string.format('%.0f', now + hold), member)
lasts()
return allowed(math.max(0, limit - inside))
`,
};

export const fixedWindow: Script = {
  name: "rates/fixed-window",
  sha: "d798bc4d993b9caec18011be4d4175f9d92055b9",
  source: `-- Decides by a fixed window.
-- KEYS[1] the key's state: the instant of the last change, the units used in its window
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

${decisionPart}${pairPart}
local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local start = math.floor(now / window) * window
local ends = start + window
local at, used = load()
-- An instant that is still to come was written before the clock was set back; it counts as now.
if not at or at < start then at, used = now, 0 end
local fits = used + count <= limit
local after = used
if fits or counts then after = math.max(used, math.min(limit, used + count)) end
if after ~= used or at > now then save(after, ends) end
if fits then return allowed(limit - after) end
return refused(limit - after, ends - now)
`,
};

export const leakyBucket: Script = {
  name: "rates/leaky-bucket",
  sha: "fe1ce25210c74e46b6c974b2d5093617a12f7e84",
  source: `-- Decides by a leaky bucket.
-- KEYS[1] the key's state: an instant, how many units there were at it whose successor could not leave yet
-- ARGV    rate per second · how many wait at most · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that there is room for, after how many ms it may go on, in digits}

${decisionPart}${pairPart}
local per_ms, queue_max, count = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local at, queued = load()
if not at then at, queued = now, 0 end
-- An instant that is still to come was written before the clock was set back; it counts as now.
queued = math.max(0, queued - math.max(0, now - at) * per_ms)

local function empty(units)
  return now + math.ceil(units / per_ms)
end

local excess = queued + count - 1 - queue_max
if excess > tolerance then
  if at > now then save(queued, empty(queued)) end
  return refused(whole(queue_max + 1 - queued), (excess - tolerance / 2) / per_ms)
end
local after = queued + count
save(after, empty(after))
local answer = allowed(whole(queue_max + 1 - after))
answer[4] = string.format('%.17g', math.max(0, math.min((after - 1) / per_ms, forever)))
return answer
`,
};

export const leave: Script = {
  name: "rates/leave",
  sha: "cbcf611382709dbedd1e2566f5983fa7e933bdf9",
  source: `-- Gives a permit back.
-- KEYS[1] as in enter.lua
-- ARGV    permit
-- Answers whether it was there

local gone = redis.call('ZREM', KEYS[1], 'p' .. ARGV[1])
-- Only the instant of the last change is left.
if gone == 1 and redis.call('ZCARD', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
return gone
`,
};

export const slidingLog: Script = {
  name: "rates/sliding-log",
  sha: "e26ead48824f42e8ee7f68701f7e53a393ab01e7",
  source: `-- Decides by a log of everything that was taken.
-- KEYS[1] what was taken, with milliseconds since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

${decisionPart}${logPart}
local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])

local function is_out(at)
  return at + window <= now
end

local set_back = open(now, is_out)
local fits = counted + count <= limit
if fits or counts then add(now, count) end
if counts and not fits then
  -- Whoever is beyond the limit stays there without the oldest, too.
  drop_while(function(_, units)
    return counted - units >= limit
  end)
end
if fits or counts or set_back then call('PEXPIREAT', KEYS[1], instant(newest + window)) end
if fits then return allowed(limit - counted) end
return refused(limit - counted, last_out(limit - count) + window - now)
`,
};

export const slidingWindow: Script = {
  name: "rates/sliding-window",
  sha: "43294791a415be6f3d15e6e2e195916ded879c51",
  source: `-- Decides by a sliding window that is counted in parts.
-- KEYS[1] what was taken, with the numbers of parts since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units · how many parts a window has
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

${decisionPart}${logPart}
local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local cells = tonumber(ARGV[5])
-- Both factors are whole, so that no part's edge is moved by rounding.
local current = math.floor(now * cells / window)

-- The window reaches into its oldest part for as long as that lies within it at all, so these and the current one count.
local function is_out(part)
  return part < current - cells
end

-- The first whole millisecond at which the part does not count any more.
local function ends(part)
  return math.ceil((part + cells + 1) * window / cells)
end

local set_back = open(current, is_out)
local fits = counted + count <= limit
if fits or counts then add(current, count) end
if fits or counts or set_back then call('PEXPIREAT', KEYS[1], instant(ends(newest))) end
if fits then return allowed(limit - counted) end
return refused(limit - counted, ends(last_out(limit - count)) - now)
`,
};

export const tokenBucket: Script = {
  name: "rates/token-bucket",
  sha: "5356b8c269cbb3f916c0a319ee5d4f1783efecf2",
  source: `-- Decides by a token bucket.
-- KEYS[1] the key's state: an instant, the tokens at it. Written only when tokens are taken, so that rounding does not add up on refusals.
-- ARGV    rate per second · burst · tokens
-- Answers {1 when allowed or 0, after how many ms it succeeds, whole tokens that are left}

${decisionPart}${pairPart}
local per_ms, burst, count = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local at, tokens = load()
if not at then at, tokens = now, burst end
-- An instant that is still to come was written before the clock was set back; it counts as now.
tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)

local function full(left)
  return now + math.ceil((burst - left) / per_ms)
end

if tokens < count - tolerance then
  if at > now then save(tokens, full(tokens)) end
  return refused(whole(tokens), (count - tokens - tolerance / 2) / per_ms)
end
local left = tokens - count
save(left, full(left))
return allowed(whole(left))
`,
};
