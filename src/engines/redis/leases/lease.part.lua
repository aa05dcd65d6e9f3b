-- A leased name, shared by the scripts of this folder. All keys are in one slot; nothing is left of a name that nobody holds or waits for.
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
