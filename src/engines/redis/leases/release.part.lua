-- Takes an owner out of a name and out of the queue, or only out of the queue. Needs lease.part.lua.
-- Answers whether it had anything; the token of each of those whom the name is offered to, or 0, when it comes to that.

-- Grants the name to those whose turn it is, as long as they fit and it is offered to them; `at`: where that stands in ARGV.
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

-- `offers_at`: where in ARGV it stands to whom the name is offered, if it is.
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
