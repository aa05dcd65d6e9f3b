-- Lets this server, which has not got it, hold what a majority holds at this moment.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · weight · capacity · ttl in ms · how long it is kept, in ms · 1 and data, or 0 · channel of those who watch the name
-- Answers {'ok'}, {'no'} when it does not fit, {'restarted'}, or {'away', for how many ms}

-- include: grant.part.lua

local silent = abstention()
if silent then return silent end
local holder, token, weight, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local state = load(holder)
if state.weight + weight > capacity then return { 'no' } end
hold(state, holder, {
  token = token,
  weight = weight,
  capacity = capacity,
  ttl = tonumber(ARGV[5]),
  till = now + tonumber(ARGV[6]),
  confirmed = true,
  data = ARGV[7],
})
if token > state.last then call('HSET', KEYS[1], 'm', text(token)) end
count(token)
call('PUBLISH', ARGV[8], '')
return { 'ok' }
