-- Takes an owner out of a name and out of the queue, or only out of the queue. Needs lease.part.lua.
-- Answers whether it had anything.

local function release(owner, place_only)
  local alone = read_alone()
  -- What the only holder gives up has been taken out already.
  if alone then return alone.owner == owner and 1 or 0 end
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
  local ended = sweep(state)
  if place then leave_queue(state, owner) end
  if weight > 0 and not state.own_gone then
    call('HDEL', name_key, own_field)
    state.weight = state.weight - weight
    ended = true
  end
  wake(state, head(state))
  save(state)
  if ended then call('PUBLISH', channel, '') end
  return 1
end
