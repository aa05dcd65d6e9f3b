-- Asks for a permit.
-- KEYS[1] sorted set: p<permit> -> when it ends · t -> minus the instant of the last change
-- ARGV    permit · limit · hold in ms
-- Answers as decision.part.lua says: after how many ms the first permit ends by itself, permits that are left

-- include: decision.part.lua

local member, limit, hold = 'p' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function lasts()
  local last = call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')
  call('PEXPIREAT', KEYS[1], instant(tonumber(last[2])))
end

local changed = -(tonumber(call('ZSCORE', KEYS[1], 't') or now * -1))
if changed > now then
  -- The clock was set back: everything is as it was when it was last changed.
  local permits = call('ZRANGE', KEYS[1], 0, 'inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #permits, 2 do
    call('ZADD', KEYS[1], string.format('%.0f', permits[i + 1] - changed + now), permits[i])
  end
  call('ZADD', KEYS[1], string.format('%.0f', -now), 't')
  lasts()
end
call('ZREMRANGEBYSCORE', KEYS[1], 0, now)
local inside = math.max(0, call('ZCARD', KEYS[1]) - 1)
if not call('ZSCORE', KEYS[1], member) then
  if inside >= limit then
    local first = call('ZRANGE', KEYS[1], 0, 'inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    return refused(limit - inside, first[2] - now)
  end
  inside = inside + 1
end
call('ZADD', KEYS[1], string.format('%.0f', -now), 't', string.format('%.0f', now + hold), member)
lasts()
return allowed(math.max(0, limit - inside))
