// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const leasePart = `-- Leased names, as the scripts of this folder keep them. One of KEYS for each; its other keys are derived and in the same slot. Nothing is left of a name that
-- nobody holds or waits for. One that one holder has and nobody waits for, as most are, is a string, which ends by itself when the lease does:
--   B:n:<name>  owner '/' token '/' weight '/' capacity '/' data
-- An owner is a holder behind the count of its bytes and a colon, so that no owner begins with another. As soon as somebody else is to be noted:
--   B:n:<name>  hash: w what is held together · e no holder ends before this instant · q how many wait · t the last ticket ·
--          x when the key ends
--          h<owner>  token, weight, capacity, end (f64 each) .. data, behind a byte that says whether there is any
--          r<owner>  one that waits: ticket, weight, capacity, until when it is believed to be alive (f64 each) .. its channel
--   B:q:<name>  sorted set: owner -> ticket
--   B:token     the last one given in this slot; never goes
-- Instants are ms since the epoch by this server's clock, with their fraction.
local time = call('TIME')
local now = (time[1] * 1000000 + time[2]) / 1000
local grant_format, waiter_format = '<dddd', '<dddd'

-- The name that is looked at, its first key, what its keys begin with, and where those who watch it hear of it.
local name, name_key, base, channel

local function look_at(key, heard_at)
  local tag_end = string.find(key, '}', 1, true)
  name_key, base, name, channel = key, string.sub(key, 1, tag_end), string.sub(key, tag_end + 4), heard_at
end

local function queue_key()
  return base .. ':q:' .. name
end

local function text(number)
  return string.format('%.17g', number)
end

-- The only holder, when nobody else holds the name or waits for it.
local function read_alone()
  local alone = call('MGET', name_key)[1]
  if not alone then return nil end
  local size, from = string.match(alone, '^(%d+):()')
  local ends = from + size
  local token, weight, capacity, data = string.match(alone, '^/(%d+)/(%d+)/(%d+)/(.*)$', ends)
  return {
    owner = string.sub(alone, 1, ends - 1),
    token = tonumber(token),
    weight = tonumber(weight),
    capacity = tonumber(capacity),
    data = data,
    -- The key is there for the whole of its last millisecond.
    till = call('PEXPIRETIME', name_key) + 1,
  }
end

-- Makes room beside the only holder.
local function widen(alone)
  local grant = struct.pack(grant_format, alone.token, alone.weight, alone.capacity, alone.till) .. alone.data
  call('DEL', name_key)
  call('HSET', name_key, 'w', alone.weight, 'e', alone.till, 'q', 0, 'x', alone.till, 'h' .. alone.owner, grant)
  call('PEXPIREAT', name_key, text(alone.till + 1000))
end

-- What there is of the name, with the owner's own part; nothing when nobody holds or waits for it.
local function read(own_field, owner)
  return call('HMGET', name_key, 'w', 'e', 'q', 'x', own_field, 'r' .. owner)
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
    noted = {},
    dropped = {},
  }
end

-- Both keys end by themselves when everything in them has, and this much later, in ms: so they need not be prolonged each time.
local later = 1000

local function keep(state, till)
  if till <= state.lasts + later - 1 then return end
  state.lasts = till
  state.prolonged = true
end

-- What is written and taken out along with the state.
local function note(state, field, value)
  local noted = state.noted
  noted[#noted + 1] = field
  noted[#noted + 1] = value
end

local function drop(state, field)
  state.dropped[#state.dropped + 1] = field
end

-- Writes the state. What takes memory comes last: a server that has none left then does not refuse it any more.
local function save(state)
  if state.weight <= 0 and state.waiting <= 0 then
    call('DEL', name_key, queue_key())
    return
  end
  local ends = state.weight > 0 and state.ends or math.huge
  -- Lua hands over some thousand values at once, and no more.
  for from = 1, #state.dropped, 1000 do
    call('HDEL', name_key, unpack(state.dropped, from, math.min(from + 999, #state.dropped)))
  end
  call('HSET', name_key, 'w', state.weight, 'e', ends, 'q', state.waiting, 'x', state.lasts, unpack(state.noted))
  if state.prolonged then call('PEXPIREAT', name_key, math.floor(state.lasts + later)) end
  if state.waiting > 0 and (state.prolonged or state.queue_made) then
    call('PEXPIREAT', queue_key(), math.floor(state.lasts + later))
  end
end

-- Takes those out whose time has passed; answers whether there were any.
local function sweep(state)
  if state.ends > now then return false end
  local all, ends, ended = call('HGETALL', name_key), math.huge, false
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'h' then
      local _, weight, _, till = struct.unpack(grant_format, all[i + 1])
      if till <= now then
        drop(state, all[i])
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

local function leave_queue(state, owner)
  if state.waiting > 0 and call('ZREM', queue_key(), owner) == 1 then
    drop(state, 'r' .. owner)
    state.waiting = state.waiting - 1
  end
end

-- Whose turn it is: an owner, and what it asked for. Those that have not been heard of are taken out.
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
        return { owner = first, weight = weight, capacity = capacity, till = till, channel = string.sub(place, after) }
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
    call('PUBLISH', first.channel, #name .. ':' .. name .. first.owner)
  end
end

-- What a share asks for: weight, capacity, and the byte with its data.
local function read_share(share)
  local weight, capacity, data = string.match(share, '^/(%d+)/(%d+)/(.*)$')
  return tonumber(weight), tonumber(capacity), data
end

-- A number that is not below the clock: a token that a crash or a failover has lost is not given again. See operate.lua, too.
local function next_token()
  local last = tonumber(call('GET', base .. ':token') or 0)
  local token = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  call('SET', base .. ':token', token)
  return tonumber(token)
end

local function hold(state, owner, token, weight, capacity, ttl, data)
  local till = now + ttl
  if till < state.ends then state.ends = till end
  keep(state, till)
  note(state, 'h' .. owner, struct.pack(grant_format, token, weight, capacity, till) .. data)
end

-- To one that fits, and may have a place in the queue; answers its token.
local function grant(state, owner, weight, capacity, ttl, data)
  leave_queue(state, owner)
  local token = next_token()
  state.weight = state.weight + weight
  hold(state, owner, token, weight, capacity, ttl, data)
  return token
end
`;

const acquirePart = `-- Grants a name that others hold or wait for, tells what was granted already, or takes the owner into the queue. Needs lease.part.lua.
-- Answers the token when it is granted; else 2 and the token when it was before; 0 when it is not; 3 and when to ask again, in ms, when it waits; 4 or 5,
-- weight and capacity when it owns, or waits for, others than asked for.

-- For so long one that waits is believed to be there, in ms. It asks again three times as often.
local patience = 3000

-- Asks for other figures than those that it owns or waits for; what has ended is taken out all the same.
local function differs(state, does, own_weight, own_capacity)
  save(state)
  return { does, own_weight, own_capacity }
end

local function stand_in_line(state, first, owner, weight, capacity, own_channel)
  local ticket
  if state.place and call('ZSCORE', queue_key(), owner) then
    ticket = struct.unpack('<d', state.place)
  else
    ticket = call('HINCRBY', name_key, 't', 1)
    call('ZADD', queue_key(), ticket, owner)
    state.queue_made = state.waiting == 0
    state.waiting = state.waiting + 1
  end
  local till = now + patience
  keep(state, till)
  if first and first.owner ~= owner then wake(state, first) end
  note(state, 'r' .. owner, struct.pack(waiter_format, ticket, weight, capacity, till) .. own_channel)
  save(state)
  local next = (not first or first.owner == owner) and state.ends or first.till
  return { 3, math.ceil(math.min(next - now, patience)) }
end

-- Beside the only holder, who may be the one that asks; nothing when that has to be noted in the hash that there is now.
local function acquire_beside(alone, owner, weight, capacity, ttl, share, own_channel)
  if alone.owner == owner then
    if alone.weight ~= weight or alone.capacity ~= capacity then return { 4, alone.weight, alone.capacity } end
    call('SET', name_key, owner .. '/' .. text(alone.token) .. share, 'PX', ttl)
    return { 2, alone.token }
  end
  if own_channel == '' and alone.weight + weight > capacity then return { 0 } end
  widen(alone)
end

local function acquire(owner, share, ttl, own_channel)
  local weight, capacity, data = read_share(share)
  local alone = read_alone()
  local answer = alone and acquire_beside(alone, owner, weight, capacity, ttl, share, own_channel)
  if answer then return answer end
  local own_field = 'h' .. owner
  local state = state_of(read(own_field, owner), own_field)
  local ended = sweep(state)
  if state.own then
    local token, own_weight, own_capacity, till = struct.unpack(grant_format, state.own)
    if till > now then
      if own_weight ~= weight or own_capacity ~= capacity then return differs(state, 4, own_weight, own_capacity) end
      hold(state, owner, token, weight, capacity, ttl, data)
      save(state)
      return { 2, token }
    end
  end
  if state.place then
    local _, own_weight, own_capacity = struct.unpack(waiter_format, state.place)
    if own_weight ~= weight or own_capacity ~= capacity then return differs(state, 5, own_weight, own_capacity) end
  end
  local first = head(state)
  if (not first or first.owner == owner) and fits(state, weight, capacity) then
    answer = grant(state, owner, weight, capacity, ttl, data)
    ended = true
    wake(state, head(state))
    save(state)
  elseif own_channel ~= '' then
    answer = stand_in_line(state, first, owner, weight, capacity, own_channel)
  else
    if first and first.owner ~= owner then wake(state, first) end
    save(state)
    answer = { 0 }
  end
  if ended then call('PUBLISH', channel, '') end
  return answer
end
`;

const releasePart = `-- Takes an owner out of a name and out of the queue, or only out of the queue. Needs lease.part.lua.
-- Answers whether it had anything; the token of each of those whom the name is offered to, or 0, when it comes to that.

-- Grants the name to those whose turn it is, as long as they fit and it is offered to them; \`at\`: where that stands in ARGV.
local function hand_over(state, at)
  local tokens, places = {}, {}
  for i = 1, tonumber(ARGV[at]) do
    tokens[i], places[ARGV[at + i * 3 - 2]] = 0, at + i * 3 - 2
  end
  local first = head(state)
  while first and fits(state, first.weight, first.capacity) do
    local place = places[first.owner]
    if not place then break end
    local weight, capacity, data = read_share(ARGV[place + 1])
    -- It waits for something else by now; it asks again.
    if weight ~= first.weight or capacity ~= first.capacity then break end
    local token = grant(state, first.owner, weight, capacity, tonumber(ARGV[place + 2]), data)
    tokens[(place - at + 2) / 3] = token
    first = head(state)
  end
  wake(state, first)
  return tokens
end

-- \`offers_at\`: where in ARGV it stands to whom the name is offered, if it is.
local function release(owner, place_only, offers_at)
  local alone = read_alone()
  -- What the only holder gives up has been taken out already, unless it is offered to others.
  if alone then
    if alone.owner ~= owner then return 0 end
    call('DEL', name_key)
    call('PUBLISH', channel, '')
    return 1
  end
  local own_field = 'h' .. owner
  local fields = read(own_field, owner)
  local own, place = fields[5], fields[6]
  if not own and not place then return 0 end
  local state = state_of(fields, own_field)
  local weight = 0
  if own and not place_only then weight = select(2, struct.unpack(grant_format, own)) end
  if weight > 0 and weight == state.weight and state.waiting == 0 then
    -- Nobody else is there.
    call('DEL', name_key)
    call('PUBLISH', channel, '')
    return 1
  end
  local ended, answer = sweep(state), 1
  if place then leave_queue(state, owner) end
  if weight > 0 and not state.own_gone then
    drop(state, own_field)
    state.weight = state.weight - weight
    ended = true
  end
  if state.weight <= 0 then state.ends = math.huge end
  if offers_at then
    answer = hand_over(state, offers_at)
  else
    wake(state, head(state))
  end
  save(state)
  if ended then call('PUBLISH', channel, '') end
  return answer
end
`;

const renewPart = `-- Gives an owner its full time to live again. Needs lease.part.lua.
-- Answers 1, or 0 when it does not own the name under this token any more.

local function renew(owner, expected, ttl)
  local alone = read_alone()
  if alone then
    if alone.owner ~= owner or alone.token ~= expected then return 0 end
    return call('PEXPIRE', name_key, ttl)
  end
  local own_field = 'h' .. owner
  local fields = read(own_field, owner)
  if not fields[5] then return 0 end
  local state = state_of(fields, own_field)
  local token, weight, capacity, till, after = struct.unpack(grant_format, state.own)
  if till <= now or token ~= expected then return 0 end
  till = now + ttl
  if till < state.ends then state.ends = till end
  keep(state, till)
  note(state, own_field, struct.pack(grant_format, token, weight, capacity, till) .. string.sub(state.own, after))
  save(state)
  return 1
end
`;

export const describe: Script = {
  name: "leases/describe",
  sha: "9bc4966420b5972e45d61c3b27f8e75fa23a07f8",
  source: `-- Who holds a name, and how many wait for it.
-- KEYS    the name's first
-- Answers how many wait · now · then for each holder: holder, token, weight, end, 1 and its data or 0

local call = redis.call
${leasePart}look_at(KEYS[1])

local function holder_of(owner)
  return string.sub(owner, string.find(owner, ':', 1, true) + 1)
end

local alone = read_alone()
if alone then
  return { 0, text(now), holder_of(alone.owner), text(alone.token), text(alone.weight), text(alone.till), alone.data }
end

local answer, all = { 0, text(now) }, call('HGETALL', name_key)
for i = 1, #all, 2 do
  local kind, rest = string.sub(all[i], 1, 1), string.sub(all[i], 2)
  if kind == 'h' then
    local token, weight, _, till, after = struct.unpack(grant_format, all[i + 1])
    if till > now then
      for _, part in ipairs({ holder_of(rest), text(token), text(weight), text(till), string.sub(all[i + 1], after) }) do
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
  sha: "6db982902e2dea42cacbbb5bdb9abb8093ebb3df",
  source: `-- Carries out operations on leased names, one after the other.
-- KEYS    the first of each operation's name
-- ARGV    of each operation one of
--         'a' · channel of those who watch the name · owner · '/' weight '/' capacity '/' 1 and data, or 0 · ttl in ms · where the owner hears of its turn,
--         or nothing when it does not wait: acquire
--         'r', or 'p' when only its place in the queue is given up · channel of those who watch · owner: release
--         'h' · channel of those who watch · owner · how many of its process wait for the name · for each owner · share · ttl, as above: release, and grant it
--         to those of them whose turn it is
--         'n' · channel of those who watch · owner · token · ttl in ms: renew
-- Answers for each what the part of that name says, or -1 and the server's error. A single operation's answer stands alone.

local call = redis.call

-- For names that several hold or wait for. Made when it is needed: every function costs time whenever the script runs, as do calls and numbers that become text.
local in_full

-- How a name that one holder has alone looks, lease.part.lua says.
local function operate(key, at)
  local kind, channel, owner = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == 'a' then
    -- A name that nobody holds or waits for. A token is a number that is not below the clock: one that a crash or a failover has lost is not given again.
    local time, share, ttl = call('TIME'), ARGV[at + 3], ARGV[at + 4]
    local token = time[1] .. string.sub('00000' .. time[2], -6)
    if call('SET', key, owner .. '/' .. token .. share, 'PX', ttl, 'NX') then
      local token_key = string.sub(key, 1, string.find(key, '}', 1, true)) .. ':token'
      local last = call('SET', token_key, token, 'GET')
      if last and (#last ~= #token or last >= token) then
        -- The clock was set back, or has not gone on.
        token = string.format('%.0f', math.max(last + 1, token))
        call('SET', token_key, token)
        call('SET', key, owner .. '/' .. token .. share, 'PX', ttl)
      end
      call('PUBLISH', channel, '')
      return tonumber(token)
    end
  elseif kind == 'r' then
    -- The only holder. Of a hash MGET answers nothing, where GET would fail.
    local alone = call('MGET', key)[1]
    if alone and string.find(alone, owner, 1, true) == 1 then
      call('DEL', key)
      call('PUBLISH', channel, '')
      return 1
    end
  end
  in_full = in_full or (function()
${leasePart}${acquirePart}${releasePart}${renewPart}    return function(key, kind, at)
      look_at(key, ARGV[at + 1])
      local owner = ARGV[at + 2]
      if kind == 'a' then return acquire(owner, ARGV[at + 3], tonumber(ARGV[at + 4]), ARGV[at + 5]) end
      if kind == 'n' then return renew(owner, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])) end
      return release(owner, kind == 'p', kind == 'h' and at + 3)
    end
  end)()
  return in_full(key, kind, at)
end

if #KEYS == 1 then return operate(KEYS[1], 1) end

local takes = { a = 6, r = 3, p = 3, n = 5 }
local answers, at = {}, 1
for i = 1, #KEYS do
  local ok, answer = pcall(operate, KEYS[i], at)
  -- A server that takes nothing more refuses one, and still lets another give up what it has.
  answers[i] = ok and answer or { -1, type(answer) == 'table' and answer.err or tostring(answer) }
  local kind = ARGV[at]
  at = at + (kind == 'h' and 4 + 3 * ARGV[at + 3] or takes[kind])
end
return answers
`,
};
