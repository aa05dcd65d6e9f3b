-- Takes a holder out of a name and out of the queue, or only out of the queue. Needs lease.part.lua.
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
