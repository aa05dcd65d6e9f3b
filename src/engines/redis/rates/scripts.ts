// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const decisionPart = `-- Decisions by this server's clock, in whole milliseconds: one for each of KEYS, in their order. What a key has lies under it alone, and ends by itself.
-- ARGV ends with the units that each key is asked for, or with one figure for all.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Instants further away than numbers are exact.
local forever = 9007199254740991

local function instant(at)
  return math.max(now + 1, math.min(at, forever))
end

-- What the i-th key is asked for; so many arguments stand before.
local function units(before, i)
  return tonumber(ARGV[before + i] or ARGV[before + 1])
end

-- One after the other: 1 when allowed or 0, after how many ms it succeeds, units that are left.
local answers, answered = {}, 0

local function answer(verdict, retry_after, remaining)
  answers[answered + 1], answers[answered + 2], answers[answered + 3] = verdict, retry_after, remaining
  answered = answered + 3
  return answers
end

local function allowed(remaining)
  return answer(1, 0, remaining)
end

local function refused(remaining, retry_after)
  return answer(0, math.max(1, math.min(math.ceil(retry_after), forever)), math.max(0, remaining))
end
`;

const pairPart = `-- A state of two numbers (f64 each): the instant of the last change, and an amount at it.
local function load(key)
  local packed = call('GET', key)
  if not packed then return nil end
  return struct.unpack('<dd', packed)
end

local function save(key, amount, ends)
  call('SET', key, struct.pack('<dd', now, amount), 'PXAT', instant(ends))
end

-- So much may be missing, lest rounding refuse what has just become free. It is taken all the same, so it never adds up.
local tolerance = 1e-9

local function whole(amount)
  return math.max(0, math.min(math.floor(amount + tolerance), forever))
end
`;

const logPart = `-- A list of what was taken: instant, units, instant, units, …, oldest first; its last element says how many units that is.
-- Instants only grow; what they count, milliseconds or parts of a window, and how long one counts is up to who includes this.
local key, newest, newest_units, counted
-- What is written once, when the key is left: the count, where it changed; the end, where the newest instant did.
local miscounted, moved
local chunk = 128

local function clear()
  call('DEL', key)
  newest, newest_units, counted = -math.huge, 0, 0
  miscounted = false
end

local function add(at, taken)
  local total = counted + taken
  if newest == at then
    newest_units = newest_units + taken
    call('LSET', key, -2, newest_units)
    miscounted = true
  else
    if counted > 0 then
      call('LSET', key, -1, at)
      call('RPUSH', key, taken, total)
    else
      call('RPUSH', key, at, taken, total)
    end
    newest, newest_units = at, taken
    miscounted, moved = false, true
  end
  counted = total
end

-- Takes out the oldest for which it holds; never the newest. \`read\`: the first items, where they were read already, of so many that were wanted.
local function drop_while(holds, read, wanted)
  wanted = wanted or chunk
  while true do
    read = read or call('LRANGE', key, 0, wanted - 1)
    local out = 0
    while out + 4 < #read and holds(tonumber(read[out + 1]), tonumber(read[out + 2])) do
      counted = counted - tonumber(read[out + 2])
      out = out + 2
    end
    if out > 0 then
      call('LPOP', key, out)
      miscounted = true
    end
    if out + 4 < wanted then return end
    read, wanted = nil, chunk
  end
end

-- Reads what counts of a key at this instant; where the clock was set back, all of it counts as taken at this instant. Whoever has no more than
-- so many items is read at once.
local function open(of, at, is_out, items)
  key, newest, newest_units, counted = of, -math.huge, 0, 0
  miscounted, moved = false, false
  local read = call('LRANGE', key, 0, items - 1)
  local last = #read
  if last == 0 then return end
  local tail = read
  if last == items then
    tail = call('LRANGE', key, -3, -1)
    last = 3
  end
  newest, newest_units, counted = tonumber(tail[last - 2]), tonumber(tail[last - 1]), tonumber(tail[last])
  if newest > at then
    local all = counted
    clear()
    add(at, all)
  elseif is_out(newest) then
    clear()
  else
    drop_while(is_out, read, items)
  end
end

local function leave(ends)
  if miscounted then call('LSET', key, -1, counted) end
  if moved then call('PEXPIREAT', key, instant(ends)) end
end

-- The newest instant that has to be out until at most so many units count.
local function last_out(most)
  local left, from = counted, 0
  while true do
    local pairs_read = call('LRANGE', key, from, from + chunk - 1)
    for i = 1, #pairs_read - 1, 2 do
      left = left - tonumber(pairs_read[i + 1])
      if left <= most then return tonumber(pairs_read[i]) end
    end
    if #pairs_read < chunk then return newest end
    from = from + chunk
  end
end
`;

export const enter: Script = {
  name: "rates/enter",
  sha: "5de3db7875d931a406f925dbbc92b689a8e610b2",
  source: `-- Asks for a permit.
-- KEYS[1] sorted set: p<permit> -> when it ends · t -> minus the instant of the last change
-- ARGV    permit · limit · hold in ms
-- Answers as decision.part.lua says: after how many ms the first permit ends by itself, permits that are left

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
  sha: "0f287e0ceca07733d128f1b38c1dfa6f3bed00c6",
  source: `-- Decides by a fixed window.
-- KEYS    each the units that were used in its window, in digits; it ends with the window
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers as decision.part.lua says

${decisionPart}
local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
for i = 1, #KEYS do
  local key, count = KEYS[i], units(3, i)
  local used = tonumber(call('GET', key))
  local lasts = used and call('PTTL', key) or 0
  if lasts <= 0 then used = 0 end
  local fits = used + count <= limit
  local after = used
  if fits or counts then after = math.max(used, math.min(limit, used + count)) end
  if lasts <= 0 or lasts > window then
    -- What lasts longer than a window was written before the clock was set back; it counts as now.
    local ends = math.floor(now / window) * window + window
    call('SET', key, after, 'PXAT', instant(ends))
    lasts = ends - now
  elseif after > used then
    call('INCRBY', key, after - used)
  end
  if fits then allowed(limit - after) else refused(limit - after, lasts) end
end
return answers
`,
};

export const leakyBucket: Script = {
  name: "rates/leaky-bucket",
  sha: "22f835e2e2a5d8d1c06d9758732887831ba1efc9",
  source: `-- Decides by a leaky bucket.
-- KEYS    each the key's state: an instant, how many units there were at it whose successor could not leave yet
-- ARGV    rate per second · how many wait at most · units
-- Answers as decision.part.lua says, in units that there is room for; each answer ends with the ms after which it may go on, in digits

${decisionPart}${pairPart}
local per_ms, queue_max = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2])

local function empty(queued)
  return now + math.ceil(queued / per_ms)
end

local function may_go_on(after_ms)
  answered = answered + 1
  answers[answered] = after_ms > 0 and string.format('%.17g', math.min(after_ms, forever)) or '0'
end

for i = 1, #KEYS do
  local key, count = KEYS[i], units(2, i)
  local at, queued = load(key)
  if not at then at, queued = now, 0 end
  -- An instant that is still to come was written before the clock was set back; it counts as now.
  queued = math.max(0, queued - math.max(0, now - at) * per_ms)
  local excess = queued + count - 1 - queue_max
  if excess > tolerance then
    if at > now then save(key, queued, empty(queued)) end
    refused(whole(queue_max + 1 - queued), (excess - tolerance / 2) / per_ms)
    may_go_on(0)
  else
    local after = queued + count
    save(key, after, empty(after))
    allowed(whole(queue_max + 1 - after))
    may_go_on((after - 1) / per_ms)
  end
end
return answers
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
  sha: "9e883fabf4c84447b287ddfb129850e750100479",
  source: `-- Decides by a log of everything that was taken.
-- KEYS    each what was taken, with milliseconds since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers as decision.part.lua says

${decisionPart}${logPart}
local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

local function is_out(at)
  return at + window <= now
end

for i = 1, #KEYS do
  local count = units(3, i)
  open(KEYS[i], now, is_out, 8)
  local fits = counted + count <= limit
  if fits or counts then add(now, count) end
  if counts and not fits then
    -- Whoever is beyond the limit stays there without the oldest, too.
    drop_while(function(_, taken)
      return counted - taken >= limit
    end)
  end
  leave(newest + window)
  if fits then
    allowed(limit - counted)
  else
    refused(limit - counted, last_out(limit - count) + window - now)
  end
end
return answers
`,
};

export const slidingWindow: Script = {
  name: "rates/sliding-window",
  sha: "7af153bf21fdf5dd30442a4cf192e76ad713443f",
  source: `-- Decides by a sliding window that is counted in parts.
-- KEYS    each what was taken, with the numbers of parts since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · how many parts a window has · units
-- Answers as decision.part.lua says

${decisionPart}${logPart}
local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local cells = tonumber(ARGV[4])
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

-- All parts that count, and the last item; more are read in two steps.
local items = math.min(2 * cells + 4, 64)

for i = 1, #KEYS do
  local count = units(4, i)
  open(KEYS[i], current, is_out, items)
  local fits = counted + count <= limit
  if fits or counts then add(current, count) end
  leave(ends(newest))
  if fits then
    allowed(limit - counted)
  else
    refused(limit - counted, ends(last_out(limit - count)) - now)
  end
end
return answers
`,
};

export const tokenBucket: Script = {
  name: "rates/token-bucket",
  sha: "2fea3485fa87916c1a734342aba318b55437655b",
  source: `-- Decides by a token bucket.
-- KEYS    each the key's state: an instant, the tokens at it. Written only when tokens are taken, so that rounding does not add up on refusals.
-- ARGV    rate per second · burst · tokens
-- Answers as decision.part.lua says, in whole tokens

${decisionPart}${pairPart}
local per_ms, burst = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2])

local function full(left)
  return now + math.ceil((burst - left) / per_ms)
end

for i = 1, #KEYS do
  local key, count = KEYS[i], units(2, i)
  local at, tokens = load(key)
  if not at then at, tokens = now, burst end
  -- An instant that is still to come was written before the clock was set back; it counts as now.
  tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)
  if tokens < count - tolerance then
    if at > now then save(key, tokens, full(tokens)) end
    refused(whole(tokens), (count - tokens - tolerance / 2) / per_ms)
  else
    local left = tokens - count
    save(key, left, full(left))
    allowed(whole(left))
  end
end
return answers
`,
};
