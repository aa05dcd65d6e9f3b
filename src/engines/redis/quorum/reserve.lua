-- Keeps a name for a holder until it is confirmed under a token that is greater than all before it on this server.
-- KEYS    as grant.part.lua says
-- ARGV    holder · weight · capacity · ttl in ms · how long it is kept, in ms · 1 and data, or 0
-- Answers {'granted', the token that it proposes}, {'again', the greatest token of this server, the holder's token} when it holds the name already, {'differs', weight, capacity} when it does with others, {'no'},
--         {'restarted'}, or {'away', for how many ms}

-- include: grant.part.lua

local silent = abstention()
if silent then return silent end
local holder, weight, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local state = load(holder)
local own = state.own
if own and own.confirmed then
  if own.weight ~= weight or own.capacity ~= capacity then return { 'differs', text(own.weight), text(own.capacity) } end
  return { 'again', text(math.max(own.token, tonumber(call('GET', KEYS[2])) or 0)), text(own.token) }
end
if state.weight + weight > capacity then return { 'no' } end
local greatest = tonumber(call('GET', KEYS[2])) or 0
hold(state, holder, {
  token = greatest,
  weight = weight,
  capacity = capacity,
  ttl = tonumber(ARGV[4]),
  till = now + tonumber(ARGV[5]),
  confirmed = false,
  data = ARGV[6],
})
-- Not below the clock: a token that this server has lost is not proposed again.
return { 'granted', text(math.max(greatest + 1, now_us)) }
