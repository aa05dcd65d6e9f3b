-- Gives a holder its full time to live again. Needs lease.part.lua.
-- Answers 1, or 0 when it does not own the name under this token any more.

local function renew(holder, expected, ttl)
  local own_field = 'h' .. holder
  local fields = read(own_field, holder)
  if not fields[5] then return 0 end
  local state = state_of(fields, own_field)
  local token, weight, capacity, _, till, after = struct.unpack(grant_format, state.own)
  if till <= now or token ~= expected then return 0 end
  till = now + ttl
  if till < state.ends then state.ends = till end
  keep(state, till)
  local grant = struct.pack(grant_format, token, weight, capacity, ttl, till) .. string.sub(state.own, after)
  save(state, own_field, grant)
  return 1
end
