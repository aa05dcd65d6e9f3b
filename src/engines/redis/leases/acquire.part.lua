-- Grants a name, tells what it was granted already, or takes the holder into the queue. Needs lease.part.lua.
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
