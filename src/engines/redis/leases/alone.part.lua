-- A name that one holder has and nobody waits for: most are. Such a name is one string, which ends by itself when the lease does; as soon as somebody else
-- is to be noted it becomes a hash, see lease.part.lua.
--   B:n:<name>  owner '/' token '/' weight '/' capacity '/' data
-- An owner is a holder behind the count of its bytes and a colon, so that no owner begins with another.
local call = redis.call

-- A number that is not below the clock: a token that a crash or a failover has lost is not given again. As text, which costs less than numbers do.
local function token_above(token_key)
  local time = call('TIME')
  local token = time[1] .. string.sub('00000' .. time[2], -6)
  local last = call('GET', token_key)
  if last and (#last ~= #token or last >= token) then token = string.format('%.0f', math.max(last + 1, token)) end
  return token
end

-- Grants a name that nobody holds or waits for; answers the token, or nothing when somebody does.
local function acquire_free(key, channel, owner, share, ttl)
  local token_key = string.sub(key, 1, string.find(key, '}', 1, true)) .. ':token'
  local token = token_above(token_key)
  if not call('SET', key, owner .. '/' .. token .. share, 'PX', ttl, 'NX') then return nil end
  call('SET', token_key, token)
  call('PUBLISH', channel, '')
  return tonumber(token)
end

-- Takes the only one out whom there is; answers nothing when it is not that one.
local function release_alone(key, channel, owner)
  -- Of a hash this answers nothing, where GET would fail.
  local alone = call('MGET', key)[1]
  if not alone or string.find(alone, owner, 1, true) ~= 1 then return nil end
  call('DEL', key)
  call('PUBLISH', channel, '')
  return 1
end
