-- Groups: their members, and who owns which lane. A part that other scripts begin with; needs partition.part.lua and
-- lane.part.lua.
--
--   T:g<g>    hash  name · j number of the last member that joined · a what its members agreed on · e its only member, of an
--                   ephemeral one
--   T:g<g>:m  zset  members by the instant at which their sessions end
--   T:g<g>:i  hash  of each member: `<number> <revokeMs>`
--   T:g<g>:o  hash  of each owned lane: `<fence> <member>`
--   T:g<g>:r  hash  of each lane that was asked back: the instant from which on it is lost
--   T:e       zset  ephemeral groups by the instant at which their member's session ends
-- and the counters of the family, a hash: t topics ever · x grants ever, so that a fence is greater than all before it.

-- Fences count seconds at least: they must stay below 2^31.
local fenceEpochMs = 1767225600000

-- The counter's next value, `least` at least: by the clock, so that a failover that lost values does not give them again.
local function grow(counters, field, least)
  local value = call('HINCRBY', counters, field, 1)
  if value < least then
    value = least
    call('HSET', counters, field, text(value))
  end
  return value
end

local function announce(topic, group)
  call('PUBLISH', topic .. ':w', 'g' .. group)
end

local function atNext(partition)
  return partition.next
end

-- Makes a group that starts at `start(partition)`, and now where that says nothing.
local function makeGroup(topic, name, start, now)
  local group = tostring(call('HINCRBY', topic, 'g', 1))
  call('HSET', topic .. ':g', name, group)
  call('HSET', topic .. ':g' .. group, 'name', name)
  call('HINCRBY', topic, 'c', 1)
  call('HDEL', topic, 'u')
  eachPartition(topic, now, function(partition)
    local position = start(partition) or partition.next
    if position > 0 then
      call('HSET', topic .. ':g' .. group .. ':' .. partition.number, 'l', text(position))
    end
  end)
  return group
end

-- In the settings, so that whoever appends sees at little cost whether there are any.
local function countEphemeral(topic)
  call('HSET', topic, 'e', call('ZCARD', topic .. ':e'))
end

local function removeGroup(topic, name, group)
  call('HDEL', topic .. ':g', name)
  if call('ZREM', topic .. ':e', group) == 1 then
    countEphemeral(topic)
  end
  call('HINCRBY', topic, 'c', -1)
  call('HDEL', topic, 'u')
  local key = topic .. ':g' .. group
  for number = 0, tonumber(call('HGET', topic, 'n')) - 1 do
    local lane = key .. ':' .. number
    call('UNLINK', lane, lane .. ':b', lane .. ':h')
  end
  call('UNLINK', key, key .. ':m', key .. ':i', key .. ':o', key .. ':r')
  announce(topic, group)
end

-- What only this group had not settled is given back.
local function trimAll(topic, now)
  for number = 0, tonumber(call('HGET', topic, 'n')) - 1 do
    trim(partitionOf(topic, tostring(number)), now)
  end
end

-- Ephemeral groups go with their members' sessions.
local function removeEnded(topic, now)
  local ended = call('ZRANGEBYSCORE', topic .. ':e', '-inf', text(now))
  for _, group in ipairs(ended) do
    removeGroup(topic, call('HGET', topic .. ':g' .. group, 'name'), group)
  end
  if #ended > 0 then
    trimAll(topic, now)
  end
end

-- Where nobody reads any more, appending is all that looks; else what an ended group has not settled would be kept for ever.
local function removeEndedBeforeAppending(topics, now)
  for _, topic in ipairs(topics) do
    if (tonumber(call('HGET', topic, 'e')) or 0) > 0 then
      removeEnded(topic, now)
    end
  end
end

-- Takes a lane from its owner. `orderly`: the owner gave it back, so that nothing of it is suspect.
local function takeLane(topic, group, number, orderly)
  local key = topic .. ':g' .. group
  call('HDEL', key .. ':o', number)
  call('HDEL', key .. ':r', number)
  local lane = key .. ':' .. number
  if orderly then
    call('HDEL', lane, 'x', 's', 'c')
    return
  end
  local fields = call('HMGET', lane, 's', 'c')
  local suspect = math.max(tonumber(fields[1]) or 0, tonumber(fields[2]) or 0)
  call('HDEL', lane, 'x', 'c')
  call('HSET', lane, 's', text(suspect))
end

local function readMembers(key, now)
  local members, byId, infos = {}, {}, {}
  local fields = call('HGETALL', key .. ':i')
  for i = 1, #fields, 2 do
    infos[fields[i]] = fields[i + 1]
  end
  local sessions = call('ZRANGE', key .. ':m', 0, -1, 'WITHSCORES')
  for i = 1, #sessions, 2 do
    local id, ends = sessions[i], tonumber(sessions[i + 1])
    if ends > now then
      local number, revokeMs = string.match(infos[id], '^(%S+) (%S+)$')
      local member = { id = id, ends = ends, number = tonumber(number), revokeMs = tonumber(revokeMs), lanes = {} }
      members[#members + 1] = member
      byId[id] = member
    else
      call('ZREM', key .. ':m', id)
      call('HDEL', key .. ':i', id)
    end
  end
  table.sort(members, function(one, other)
    return one.number < other.number
  end)
  return members, byId
end

-- Takes the lanes whose owners are gone or did not give them back in time, and notes the others with their owners.
local function readOwners(topic, group, byId, now)
  local key = topic .. ':g' .. group
  local revoked, owned, changed = {}, {}, false
  local fields = call('HGETALL', key .. ':r')
  for i = 1, #fields, 2 do
    revoked[fields[i]] = tonumber(fields[i + 1])
  end
  fields = call('HGETALL', key .. ':o')
  for i = 1, #fields, 2 do
    local number = fields[i]
    local fence, id = string.match(fields[i + 1], '^(%S+) (%S+)$')
    local member = byId[id]
    if not member or (revoked[number] and revoked[number] <= now) then
      takeLane(topic, group, number, false)
      revoked[number] = nil
      changed = true
    else
      owned[number] = true
      member.lanes[#member.lanes + 1] = { number = number, order = tonumber(number), fence = fence }
    end
  end
  return owned, revoked, changed
end

-- Spreads the lanes evenly, moving as few as possible: who has most keeps the odd ones.
local function setQuotas(members, partitions)
  local byLanes = {}
  for i, member in ipairs(members) do
    byLanes[i] = member
  end
  table.sort(byLanes, function(one, other)
    if #one.lanes ~= #other.lanes then
      return #one.lanes > #other.lanes
    end
    return one.number < other.number
  end)
  local least, odd = math.floor(partitions / #members), partitions % #members
  for i, member in ipairs(byLanes) do
    member.quota = least + (i <= odd and 1 or 0)
  end
end

local function revokeBeyond(key, member, revoked, now)
  table.sort(member.lanes, function(one, other)
    return one.order < other.order
  end)
  local kept, changed = 0, false
  for _, lane in ipairs(member.lanes) do
    if not revoked[lane.number] then
      kept = kept + 1
      if kept > member.quota then
        revoked[lane.number] = now + member.revokeMs
        call('HSET', key .. ':r', lane.number, text(revoked[lane.number]))
        changed = true
      end
    end
  end
  return changed
end

-- Brings the group's lanes to where they belong. Answers the members by id, what is revoked, and in how many ms it is worth
-- another look, -1 for never.
local function balance(topic, counters, group, now)
  local key = topic .. ':g' .. group
  local partitions = tonumber(call('HGET', topic, 'n'))
  local members, byId = readMembers(key, now)
  local owned, revoked, changed = readOwners(topic, group, byId, now)
  if #members > 0 then
    setQuotas(members, partitions)
    for _, member in ipairs(members) do
      if revokeBeyond(key, member, revoked, now) then
        changed = true
      end
    end
    local candidate = 1
    for number = 0, partitions - 1 do
      while candidate <= #members and #members[candidate].lanes >= members[candidate].quota do
        candidate = candidate + 1
      end
      if candidate > #members then
        break
      end
      number = tostring(number)
      if not owned[number] then
        local member = members[candidate]
        local fence = text(grow(counters, 'x', math.floor((now - fenceEpochMs) / 1000)))
        call('HSET', key .. ':' .. number, 'x', fence)
        call('HSET', key .. ':o', number, fence .. ' ' .. member.id)
        member.lanes[#member.lanes + 1] = { number = number, fence = fence }
        changed = true
      end
    end
  end
  if changed then
    announce(topic, group)
  end
  local soonest
  for _, instant in pairs(revoked) do
    soonest = math.min(soonest or instant, instant)
  end
  return byId, revoked, soonest
end

-- What a member is to know: in how many ms it is worth another look (-1: when its session is renewed) · its lanes as
-- (partition, fence, 1 when it was asked back).
local function reportTo(id, byId, revoked, soonest, now)
  local member = byId[id]
  for other, each in pairs(byId) do
    if other ~= id then
      soonest = math.min(soonest or each.ends, each.ends)
    end
  end
  local report = { soonest and math.max(0, math.ceil(soonest - now)) or -1 }
  for _, lane in ipairs(member.lanes) do
    report[#report + 1] = tonumber(lane.number)
    report[#report + 1] = tonumber(lane.fence)
    report[#report + 1] = revoked[lane.number] and 1 or 0
  end
  return report
end
