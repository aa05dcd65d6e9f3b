-- Gives a holder its full time to live again.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · ttl in ms · how long it is kept, in ms · 1 and data, or 0, or '' when the data stays
-- Answers {'ok', weight, capacity, data}, {'gone'} when it does not hold the name under this token, {'restarted'}, or {'away', for how many ms}

-- include: grant.part.lua

local silent = abstention()
if silent then return silent end
local holder = ARGV[1]
local state = load(holder)
local own = state.own
if not own or not own.confirmed or own.token ~= tonumber(ARGV[2]) then return { 'gone' } end
own.ttl = tonumber(ARGV[3])
own.till = now + tonumber(ARGV[4])
if ARGV[5] ~= '' then own.data = ARGV[5] end
hold(state, holder, own)
return { 'ok', text(own.weight), text(own.capacity), own.data }
