-- Gives an owner its full time to live again. Needs lease.part.lua.
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
