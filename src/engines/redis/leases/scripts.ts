// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const leasePart = `-- Leased names, shared by the scripts of this folder. One of KEYS for each; its other keys are derived and in the same slot. Nothing is left of a name that
-- nobody holds or waits for.
--   B:n:<name>  hash: w what is held together · e no holder ends before this instant · q how many wait · t the last ticket ·
--          x when the key ends
--          h<holder>  token, weight, capacity, ttl, end (f64 each) .. data, behind a byte that says whether there is any
--          r<holder>  one that waits: ticket, weight, capacity, until when it is believed to be alive (f64 each) .. its channel
--   B:q:<name>  sorted set: holder -> ticket
--   B:token     the last one given in this slot; never goes
-- Instants are ms since the epoch by this server's clock, with their fraction.
local call = redis.call
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = now_us / 1000
local grant_format, waiter_format = '<ddddd', '<dddd'

-- The name that is looked at, its first key, and what its keys begin with.
local name, name_key, base

local function look_at(key)
  local tag_end = string.find(key, '}', 1, true)
  name_key, base, name = key, string.sub(key, 1, tag_end), string.sub(key, tag_end + 4)
end

local function queue_key()
  return base .. ':q:' .. name
end

local function text(number)
  return string.format('%.17g', number)
end

-- What there is of the name, with the holder's own part; nothing when nobody holds or waits for it.
local function read(own_field, holder)
  return call('HMGET', name_key, 'w', 'e', 'q', 'x', own_field, 'r' .. holder)
end

local function state_of(fields, own_field)
  return {
    weight = tonumber(fields[1]),
    ends = tonumber(fields[2]),
    waiting = tonumber(fields[3]),
    lasts = tonumber(fields[4]),
    own_field = own_field,
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

-- Writes the state, and a holder's own part along with it.
local function save(state, field, value)
  if state.weight <= 0 and state.waiting <= 0 then
    call('DEL', name_key, queue_key())
    return
  end
  local ends = state.weight > 0 and state.ends or math.huge
  if field then
    call('HSET', name_key, 'w', state.weight, 'e', ends, 'q', state.waiting, 'x', state.lasts, field, value)
  else
    call('HSET', name_key, 'w', state.weight, 'e', ends, 'q', state.waiting, 'x', state.lasts)
  end
  if state.prolonged then call('PEXPIREAT', name_key, math.floor(state.lasts + 1000)) end
  if state.waiting > 0 then call('PEXPIREAT', queue_key(), math.floor(state.lasts + 1000)) end
end

-- Takes those out whose time has passed; answers whether there were any.
local function sweep(state)
  if state.ends > now then return false end
  local all, ends, ended = call('HGETALL', name_key), math.huge, false
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'h' then
      local _, weight, _, _, till = struct.unpack(grant_format, all[i + 1])
      if till <= now then
        call('HDEL', name_key, all[i])
        if all[i] == state.own_field then state.own_gone = true end
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
  if call('ZREM', queue_key(), holder) == 1 then
    call('HDEL', name_key, 'r' .. holder)
    state.waiting = state.waiting - 1
  end
end

-- Whose turn it is: a holder, and what it asked for. Those that have not been heard of are taken out.
local function head(state)
  while state.waiting > 0 do
    local first = call('ZRANGE', queue_key(), 0, 0)[1]
    if not first then
      state.waiting = 0
      return nil
    end
    local place = call('HGET', name_key, 'r' .. first)
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
local function wake(state, first)
  if first and fits(state, first.weight, first.capacity) then
    call('PUBLISH', first.channel, #name .. ':' .. name .. first.holder)
  end
end
`;

const acquirePart = `-- Grants a name, tells what it was granted already, or takes the holder into the queue. Needs lease.part.lua.
-- Answers 1 and the token when it is granted, 2 and the token when it was; 0 when it is not; 3 and when to ask again, in ms, when it waits; 4 or 5,
-- weight and capacity when it owns, or waits for, others than asked for.

-- Not below the clock: a token that a crash or a failover has lost is not given again.
local function next_token()
  local token = now_us
  local last = tonumber(call('SET', base .. ':token', token, 'GET'))
  if last and last >= token then
    token = last + 1
    call('SET', base .. ':token', token)
  end
  return token
end

-- Of a name that nobody holds or waits for.
local function grant_first(own_field, weight, capacity, ttl, data)
  local token, till = next_token(), now + ttl
  local grant = struct.pack(grant_format, token, weight, capacity, ttl, till) .. data
  call('HSET', name_key, 'w', weight, 'e', till, 'q', 0, 'x', till, own_field, grant)
  call('PEXPIREAT', name_key, math.floor(till + 1000))
  call('PUBLISH', watchers .. name, '')
  return { 1, token }
end

local function hold(state, token, weight, capacity, ttl, data)
  local till = now + ttl
  if till < state.ends then state.ends = till end
  keep(state, till)
  save(state, state.own_field, struct.pack(grant_format, token, weight, capacity, ttl, till) .. data)
end

-- Asks for other figures than those that it owns or waits for; what has ended is taken out all the same.
local function differs(state, does, own_weight, own_capacity)
  save(state)
  return { does, own_weight, own_capacity }
end

local function stand_in_line(state, first, holder, weight, capacity)
  local ticket
  if state.place and call('ZSCORE', queue_key(), holder) then
    ticket = struct.unpack('<d', state.place)
  else
    ticket = call('HINCRBY', name_key, 't', 1)
    call('ZADD', queue_key(), ticket, holder)
    state.waiting = state.waiting + 1
  end
  local till = now + patience
  keep(state, till)
  if first and first.holder ~= holder then wake(state, first) end
  save(state, 'r' .. holder, struct.pack(waiter_format, ticket, weight, capacity, till) .. own_channel)
  local next = (not first or first.holder == holder) and state.ends or first.till
  return { 3, math.ceil(math.min(next - now, patience)) }
end

local function acquire(holder, weight, capacity, ttl, data, waits)
  local own_field = 'h' .. holder
  local fields = read(own_field, holder)
  if not fields[1] then return grant_first(own_field, weight, capacity, ttl, data) end
  local state = state_of(fields, own_field)
  local ended = sweep(state)
  if state.own then
    local token, own_weight, own_capacity, _, till = struct.unpack(grant_format, state.own)
    if till > now then
      if own_weight ~= weight or own_capacity ~= capacity then return differs(state, 4, own_weight, own_capacity) end
      hold(state, token, weight, capacity, ttl, data)
      return { 2, token }
    end
  end
  if state.place then
    local _, own_weight, own_capacity = struct.unpack(waiter_format, state.place)
    if own_weight ~= weight or own_capacity ~= capacity then return differs(state, 5, own_weight, own_capacity) end
  end
  local first = head(state)
  local answer
  if (not first or first.holder == holder) and fits(state, weight, capacity) then
    if first then leave_queue(state, holder) end
    local token = next_token()
    state.weight = state.weight + weight
    ended = true
    wake(state, head(state))
    hold(state, token, weight, capacity, ttl, data)
    answer = { 1, token }
  elseif waits then
    answer = stand_in_line(state, first, holder, weight, capacity)
  else
    if first and first.holder ~= holder then wake(state, first) end
    save(state)
    answer = { 0 }
  end
  if ended then call('PUBLISH', watchers .. name, '') end
  return answer
end
`;

const releasePart = `-- Takes a holder out of a name and out of the queue, or only out of the queue. Needs lease.part.lua.
-- Answers whether it had anything.

local function release(holder, place_only)
  local own_field = 'h' .. holder
  local fields = read(own_field, holder)
  local own, place = fields[5], fields[6]
  if not own and not place then return 0 end
  local state = state_of(fields, own_field)
  local weight = 0
  if own and not place_only then weight = select(2, struct.unpack(grant_format, own)) end
  if weight > 0 and weight == state.weight and state.waiting == 0 then
    -- Nobody else is there.
    call('DEL', name_key)
    call('PUBLISH', watchers .. name, '')
    return 1
  end
  local ended = sweep(state)
  if place then leave_queue(state, holder) end
  if weight > 0 and not state.own_gone then
    call('HDEL', name_key, own_field)
    state.weight = state.weight - weight
    ended = true
  end
  wake(state, head(state))
  save(state)
  if ended then call('PUBLISH', watchers .. name, '') end
  return 1
end
`;

const renewPart = `-- Gives a holder its full time to live again. Needs lease.part.lua.
-- Answers 1, or 0 when it does not own the name under this token any more.

local function renew(holder, expected, ttl)
  local own_field = 'h' .. holder
  local fields = read(own_field, holder)
  if not fields[5] then return 0 end
  local state = state_of(fields, own_field)
  local token, weight, capacity, _, till, after = struct.unpack(grant_format, state.own)
  if till <= now or token ~= expected then return 0 end
  till = now + ttl
  if till < state.ends then state.ends = till end
  keep(state, till)
  local grant = struct.pack(grant_format, token, weight, capacity, ttl, till) .. string.sub(state.own, after)
  save(state, own_field, grant)
  return 1
end
`;

export const describe: Script = {
  name: "leases/describe",
  sha: "b48b0115d24f0c9e90574d203a8c083313f57605",
  source: `-- Who holds a name, and how many wait for it.
-- KEYS    as lease.part.lua says
-- Answers how many wait · now · then for each holder: holder, token, weight, end, 1 and its data or 0

${leasePart}look_at(KEYS[1])

local answer, all = { 0, text(now) }, call('HGETALL', name_key)
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

export const operate: Script = {
  name: "leases/operate",
  sha: "df8728624581d1d2819b3d947eee57cd5dd00cee",
  source: `-- Carries out operations on leased names, one after the other.
-- KEYS    as lease.part.lua says, the first of each operation's name
-- ARGV    channel of who asks, where it hears of its turn · for how long it is then believed to wait, in ms · channels of those who watch a name, up to the
--         name · then of each operation one of
--         'a', or 'w' when it waits · holder · weight · capacity · ttl in ms · 1 and data, or 0: acquire
--         'r', or 'p' when only its place in the queue is given up · holder: release
--         'n' · holder · token · ttl in ms: renew
-- Answers for each what the part of that name says, or -1 and the server's error

${leasePart}local own_channel, patience, watchers = ARGV[1], tonumber(ARGV[2]), ARGV[3]

${acquirePart}${releasePart}${renewPart}
local takes = { a = 6, w = 6, r = 2, p = 2, n = 4 }

local function operate(kind, at)
  local holder = ARGV[at + 1]
  if takes[kind] == 2 then return release(holder, kind == 'p') end
  if kind == 'n' then return renew(holder, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])) end
  local weight, capacity, ttl = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  return acquire(holder, weight, capacity, ttl, ARGV[at + 5], kind == 'w')
end

local answers, at = {}, 4
for i = 1, #KEYS do
  look_at(KEYS[i])
  local kind = ARGV[at]
  local ok, answer = pcall(operate, kind, at)
  -- A server that takes nothing more refuses one, and still lets another give up what it has.
  answers[i] = ok and answer or { -1, type(answer) == 'table' and answer.err or tostring(answer) }
  at = at + takes[kind]
end
return answers
`,
};
