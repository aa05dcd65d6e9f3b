-- Gives a holder its full time to live again.
-- KEYS    as lease.part.lua says
-- ARGV    holder · token · ttl in ms
-- Answers 1, or 0 when it does not own the name under this token any more

-- include: lease.part.lua

local holder, ttl = ARGV[1], tonumber(ARGV[3])
local state = load(holder)
if not state.own then return 0 end
local token, weight, capacity, _, till, after = struct.unpack(grant_format, state.own)
if till <= now or token ~= tonumber(ARGV[2]) then return 0 end
till = now + ttl
local grant = struct.pack(grant_format, token, weight, capacity, ttl, till) .. string.sub(state.own, after)
call('HSET', KEYS[1], 'h' .. holder, grant)
if till < state.ends then state.ends = till end
keep(state, till)
save(state)
return 1
