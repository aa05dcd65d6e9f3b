-- Leased names, as the scripts of this folder keep them. One of KEYS for each; its other keys are derived and in the same slot. Nothing is left of a name that
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
