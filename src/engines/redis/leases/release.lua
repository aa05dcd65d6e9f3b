-- Takes a holder out of a name and out of the queue.
-- KEYS    as lease.part.lua says
-- ARGV    name · holder · '1' when only its place in the queue is given up · channel of those who watch the name
-- Answers whether it had anything

-- include: lease.part.lua

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
