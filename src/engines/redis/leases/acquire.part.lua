-- Grants a name that others hold or wait for, tells what was granted already, or takes the owner into the queue. Needs lease.part.lua.
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
