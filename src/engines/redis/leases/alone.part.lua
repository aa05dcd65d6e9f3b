-- A name that one holder has and nobody waits for: most are. Such a name is one string, which ends by itself when the lease does; as soon as somebody else
-- is to be noted it becomes a hash, see lease.part.lua.
--   B:n:<name>  owner '/' token '/' weight '/' capacity '/' data
-- An owner is a holder behind the count of its bytes and a colon, so that no owner begins with another.
local call = redis.call
