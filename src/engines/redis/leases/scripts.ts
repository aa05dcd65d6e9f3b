// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const leasePart = `-- A leased name, shared by the scripts of this folder. All keys are in one slot; nothing is left of a name that nobody holds or waits for.
--   KEYS[1] name   hash: w what is held together · e no holder ends before this instant · q how many wait · t the last ticket ·
--                  x when the key ends
--                  h<holder>  token, weight, capacity, ttl, end (f64 each) .. data, behind a byte that says whether there is any
--                  r<holder>  one that waits: ticket, weight, capacity, until when it is believed to be alive (f64 each) .. its channel
--   KEYS[2] queue  sorted set: holder -> ticket
--   KEYS[3] token  the last one given in this slot; never goes
-- Instants are ms since the epoch by this server's clock, with their fraction.
local call = redis.call
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = now_us / 1000
local grant_format, waiter_format = '<ddddd', '<dddd'

local function text(number)
  return string.format('%.17g', number)
end

-- What there is of the name, with the holder's own part.
local function load(holder)
  local fields = call('HMGET', KEYS[1], 'w', 'e', 'q', 'x', 'h' .. holder, 'r' .. holder)
  return {
    weight = tonumber(fields[1]) or 0,
    ends = tonumber(fields[2]) or math.huge,
    waiting = tonumber(fields[3]) or 0,
    lasts = tonumber(fields[4]) or 0,
    own = fields[5],
    place = fields[6],
  }
end

-- Both keys end by themselves when everything in them has.
local function keep(state, till)
  if till <= state.lasts then return end
  state.lasts = till
  state.prolonged = true
end

local function save(state)
  if state.weight <= 0 and state.waiting <= 0 then
    call('DEL', KEYS[1], KEYS[2])
    return
  end
  local ends = state.weight > 0 and state.ends or math.huge
  call('HSET', KEYS[1], 'w', text(state.weight), 'e', text(ends), 'q', text(state.waiting), 'x', text(state.lasts))
  if state.prolonged then
    call('PEXPIREAT', KEYS[1], string.format('%.0f', state.lasts + 1000))
  end
  if state.waiting > 0 then
    call('PEXPIREAT', KEYS[2], string.format('%.0f', state.lasts + 1000))
  end
end

-- Takes those out whose time has passed; answers whether there were any.
local function sweep(state)
  if state.ends > now then return false end
  local all, ends, ended = call('HGETALL', KEYS[1]), math.huge, false
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'h' then
      local _, weight, _, _, till = struct.unpack(grant_format, all[i + 1])
      if till <= now then
        call('HDEL', KEYS[1], all[i])
        state.weight = state.weight - weight
        ended = true
      elseif till < ends then
        ends = till
      end
    end
  end
  state.ends = ends
  return ended
end

local function leave_queue(state, holder)
  if call('ZREM', KEYS[2], holder) == 1 then
    call('HDEL', KEYS[1], 'r' .. holder)
    state.waiting = state.waiting - 1
  end
end

-- Whose turn it is: a holder, and what it asked for. Those that have not been heard of are taken out.
local function head(state)
  while state.waiting > 0 do
    local first = call('ZRANGE', KEYS[2], 0, 0)[1]
    if not first then
      state.waiting = 0
      return nil
    end
    local place = call('HGET', KEYS[1], 'r' .. first)
    if place then
      local _, weight, capacity, till, after = struct.unpack(waiter_format, place)
      if till > now then
        return { holder = first, weight = weight, capacity = capacity, till = till, channel = string.sub(place, after) }
      end
    end
    leave_queue(state, first)
  end
  return nil
end

local function fits(state, weight, capacity)
  return state.weight + weight <= capacity
end

-- Tells the first of those who wait that it fits; it then asks again.
local function wake(state, first, name)
  if first and fits(state, first.weight, first.capacity) then
    call('PUBLISH', first.channel, #name .. ':' .. name .. first.holder)
  end
end
`;

export const acquire: Script = {
  name: "leases/acquire",
  sha: "8f27c6cc02b0fd4f345664ac0c5b5b5554306384",
  source: `-- Grants a name, tells what it was granted already, or takes the holder into the queue.
-- KEYS    as lease.part.lua says
-- ARGV    name · holder · weight · capacity · ttl in ms · 1 and data, or 0 · channel of those who wait, '' when it does not wait ·
--         for how long it is then believed to be alive, in ms · channel of those who watch the name
-- Answers {'granted', token}, {'again', token}, {'no'}, {'waiting', when to ask again, in ms}, or
--         {'owns' or 'waits for', weight, capacity} when those are others than asked for

${leasePart}
local name, holder, weight, capacity = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ttl, data, channel, patience, watchers = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local state = load(holder)
local ended = sweep(state)

local function hold(token)
  local till = now + ttl
  call('HSET', KEYS[1], 'h' .. holder, struct.pack(grant_format, token, weight, capacity, ttl, till) .. data)
  if till < state.ends then state.ends = till end
  keep(state, till)
end

local function differs(does, own_weight, own_capacity)
  if own_weight == weight and own_capacity == capacity then return nil end
  -- What has ended is taken out all the same.
  save(state)
  return { does, text(own_weight), text(own_capacity) }
end

if state.own then
  local token, own_weight, own_capacity, _, till = struct.unpack(grant_format, state.own)
  if till > now then
    local other = differs('owns', own_weight, own_capacity)
    if other then return other end
    hold(token)
    save(state)
    return { 'again', text(token) }
  end
end
if state.place then
  local _, own_weight, own_capacity = struct.unpack(waiter_format, state.place)
  local other = differs('waits for', own_weight, own_capacity)
  if other then return other end
end

local first = head(state)
local answer
if (not first or first.holder == holder) and fits(state, weight, capacity) then
  if first then leave_queue(state, holder) end
  -- Not below the clock: a token that a crash or a failover has lost is not given again.
  local token = math.max((tonumber(call('GET', KEYS[3])) or 0) + 1, now_us)
  call('SET', KEYS[3], string.format('%.0f', token))
  hold(token)
  state.weight = state.weight + weight
  ended = true
  wake(state, head(state), name)
  answer = { 'granted', text(token) }
else
  if channel ~= '' then
    local ticket
    if state.place and call('ZSCORE', KEYS[2], holder) then
      ticket = struct.unpack('<d', state.place)
    else
      ticket = call('HINCRBY', KEYS[1], 't', 1)
      call('ZADD', KEYS[2], ticket, holder)
      state.waiting = state.waiting + 1
    end
    local till = now + patience
    call('HSET', KEYS[1], 'r' .. holder, struct.pack(waiter_format, ticket, weight, capacity, till) .. channel)
    keep(state, till)
    local next = (not first or first.holder == holder) and state.ends or first.till
    answer = { 'waiting', text(math.min(next - now, patience)) }
  else
    answer = { 'no' }
  end
  if first and first.holder ~= holder then wake(state, first, name) end
end
save(state)
if ended then call('PUBLISH', watchers, '') end
return answer
`,
};

export const describe: Script = {
  name: "leases/describe",
  sha: "333f241dcb5e21a44790056185cceef1fd452b94",
  source: `-- Who holds a name, and how many wait for it.
-- KEYS    as lease.part.lua says
-- Answers how many wait · now · then for each holder: holder, token, weight, end, 1 and its data or 0

${leasePart}
local answer, all = { 0, text(now) }, call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local kind, rest = string.sub(all[i], 1, 1), string.sub(all[i], 2)
  if kind == 'h' then
    local token, weight, _, _, till, after = struct.unpack(grant_format, all[i + 1])
    if till > now then
      for _, part in ipairs({ rest, text(token), text(weight), text(till), string.sub(all[i + 1], after) }) do
        answer[#answer + 1] = part
      end
    end
  elseif kind == 'r' then
    local _, _, _, till = struct.unpack(waiter_format, all[i + 1])
    if till > now then answer[1] = answer[1] + 1 end
  end
end
return answer
`,
};

export const release: Script = {
  name: "leases/release",
  sha: "881fee0fe8991d669c99db74ed497b35cb7cb081",
  source: `-- Takes a holder out of a name and out of the queue.
-- KEYS    as lease.part.lua says
-- ARGV    name · holder · '1' when only its place in the queue is given up · channel of those who watch the name
-- Answers whether it had anything

${leasePart}
local name, holder = ARGV[1], ARGV[2]
local state = load(holder)
if not state.own and not state.place then return 0 end
local ended = sweep(state)
if state.place then leave_queue(state, holder) end
if state.own and ARGV[3] ~= '1' then
  local _, weight = struct.unpack(grant_format, state.own)
  -- Sweeping may have taken it out already.
  if call('HDEL', KEYS[1], 'h' .. holder) == 1 then
    state.weight = state.weight - weight
    ended = true
  end
end
wake(state, head(state), name)
save(state)
if ended then call('PUBLISH', ARGV[4], '') end
return 1
`,
};

export const renew: Script = {
  name: "leases/renew",
  sha: "134f878e779ec381467c3848a75693992b055363",
  source: `-- Gives a holder its full time to live again.
-- KEYS    as lease.part.lua says
-- ARGV    holder · token · ttl in ms
-- Answers 1, or 0 when it does not own the name under this token any more

${leasePart}
local holder, ttl = ARGV[1], tonumber(ARGV[3])
local state = load(holder)
if not state.own then return 0 end
local token, weight, capacity, _, till, after = struct.unpack(grant_format, state.own)
if till <= now or token ~= tonumber(ARGV[2]) then return 0 end
till = now + ttl
local grant = struct.pack(grant_format, token, weight, capacity, ttl, till) .. string.sub(state.own, after)
call('HSET', KEYS[1], 'h' .. holder, grant)
if till < state.ends then state.ends = till end
keep(state, till)
save(state)
return 1
`,
};
