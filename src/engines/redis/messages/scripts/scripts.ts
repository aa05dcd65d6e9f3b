// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../../script.ts";

const partitionPart = `-- Partitions: their messages, what is delayed, what is trimmed. A part that other scripts begin with.
--
-- Messages stand in *runs*, one stream entry each: id \`<position behind its last message>-<how many>\`, one field whose
-- name is the instant of publishing and whose value is the packed messages. Positions are dense, so that the run that
-- holds a position is the first whose id is greater.
--
-- Keys, all derived from the topic's (\`T\`, a hash of its settings) and so in its slot:
--   T:<p>      hash    n next position · a last publishing instant · d first due instant · f first kept position
--                      · w a lane waits · t when retention frees something next · r when that was looked at last · s number of delayed messages ever
--   T:<p>:m    stream  the runs
--   T:<p>:d    zset    delayed messages by due instant: number (8 bytes), length of the id, id, packed message
--   T:<p>:k    list    marks of retention: \`<opened> <closed> <position>\`
--   T:g        hash    the number of each group by name
--   T:i<n>     hash    the n-th generation of message ids: \`<partition>:<position>\`, or \`-\` while delayed
--   T:w        channel the number of a partition that changed, or \`g<group number>\` when a group's members shall look
local call = redis.call

local function text(number)
  return string.format('%.17g', number)
end

-- The server's clock in whole milliseconds; the same all through one script.
local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function partitionOf(topic, number)
  local key = topic .. ':' .. number
  local fields = call('HMGET', key, 'n', 'a', 'd', 'f', 'w', 't', 'r')
  return {
    topic = topic,
    number = number,
    key = key,
    stream = key .. ':m',
    next = tonumber(fields[1]) or 0,
    at = tonumber(fields[2]) or 0,
    due = tonumber(fields[3]),
    first = tonumber(fields[4]) or 0,
    waiting = fields[5],
    trimAt = tonumber(fields[6]),
    trimmedAt = tonumber(fields[7]) or 0,
  }
end

-- Appends one run. Instants of publishing never go back within a partition, whatever the clock does.
local function addRun(partition, count, packed, publishedAt)
  if publishedAt > partition.at then
    partition.at = publishedAt
  end
  partition.next = partition.next + count
  call('XADD', partition.stream, text(partition.next) .. '-' .. count, text(partition.at), packed)
  partition.grown = true
end

-- Lanes that found nothing left a note; whoever changes the partition answers it.
local function wake(partition)
  if partition.waiting then
    partition.waiting = nil
    call('HDEL', partition.key, 'w')
    call('PUBLISH', partition.topic .. ':w', partition.number)
  end
end

local function save(partition)
  call('HSET', partition.key, 'n', text(partition.next), 'a', text(partition.at))
  wake(partition)
end

-- The id of a delayed message is remembered with its position, now that it has one.
local function placeDelayedId(partition, id)
  local topic = partition.topic
  local generation = tonumber(call('HGET', topic, 'ig')) or 0
  for number = generation, generation - 1, -1 do
    local key = topic .. ':i' .. number
    if call('HGET', key, id) == '-' then
      call('HSET', key, id, partition.number .. ':' .. text(partition.next))
      return
    end
  end
end

local function noteFirstDue(partition)
  local first = call('ZRANGE', partition.key .. ':d', 0, 0, 'WITHSCORES')
  partition.due = tonumber(first[2])
  if partition.due then
    call('HSET', partition.key, 'd', text(partition.due))
  else
    call('HDEL', partition.key, 'd')
  end
end

-- Appends what is due, in the order of due instants. Bounded; the next look goes on.
local function releaseDue(partition, now)
  if not partition.due or partition.due > now then
    return
  end
  local delayed = partition.key .. ':d'
  local count, bytes = 0, 0
  while count < 1000 and bytes < 4194304 do
    local found = call('ZRANGEBYSCORE', delayed, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, 16)
    if #found == 0 then
      break
    end
    for i = 1, #found, 2 do
      local member = found[i]
      local idBytes = string.byte(member, 9)
      if idBytes > 0 then
        placeDelayedId(partition, string.sub(member, 10, 9 + idBytes))
      end
      addRun(partition, 1, string.sub(member, 10 + idBytes), tonumber(found[i + 1]))
      count = count + 1
      bytes = bytes + #member
    end
    call('ZREMRANGEBYRANK', delayed, 0, #found / 2 - 1)
  end
  noteFirstDue(partition)
  save(partition)
end

-- Everything below is settled by every group.
local function settledBelow(topic, number, next)
  local least = next
  for _, group in ipairs(call('HVALS', topic .. ':g')) do
    local low = tonumber(call('HGET', topic .. ':g' .. group .. ':' .. number, 'l')) or 0
    if low < least then
      least = low
    end
  end
  return least
end

-- Notes when what was settled, and answers below which position the retention has passed.
local function retentionPassedBelow(partition, settled, retentionMs, now)
  local marks = partition.key .. ':k'
  local opened, position
  while true do
    local last = call('LINDEX', marks, -1)
    if not last then
      break
    end
    opened, position = string.match(last, '^(%S+) %S+ (%S+)$')
    opened, position = tonumber(opened), tonumber(position)
    if position <= settled then
      break
    end
    -- A group went back: what it has before it again is kept anew from its next settlement on.
    call('RPOP', marks)
    opened, position = nil, nil
  end
  if not position or position < settled then
    if opened and now - opened < retentionMs / 50 then
      call('LSET', marks, -1, text(opened) .. ' ' .. text(now) .. ' ' .. text(settled))
    else
      call('RPUSH', marks, text(now) .. ' ' .. text(now) .. ' ' .. text(settled))
    end
  end
  local passed = 0
  partition.trimAt = nil
  while true do
    local head = call('LINDEX', marks, 0)
    if not head then
      break
    end
    local closed, below = string.match(head, '^%S+ (%S+) (%S+)$')
    if closed + retentionMs > now then
      partition.trimAt = closed + retentionMs
      break
    end
    passed = tonumber(below)
    call('LPOP', marks)
  end
  if partition.trimAt then
    call('HSET', partition.key, 't', text(partition.trimAt))
  else
    call('HDEL', partition.key, 't')
  end
  return passed
end

-- Gives back what every group has settled and the retention does not keep. The stream is cut at its nodes: what remains
-- below \`first\` is out of sight.
local function trim(partition, now)
  local settled = settledBelow(partition.topic, partition.number, partition.next)
  local retentionMs = tonumber(call('HGET', partition.topic, 'r')) or 0
  local first = settled
  if retentionMs > 0 then
    first = math.min(settled, retentionPassedBelow(partition, settled, retentionMs, now))
  end
  if first > partition.first then
    partition.first = first
    call('HSET', partition.key, 'r', text(now), 'f', text(first))
    call('XTRIM', partition.stream, 'MINID', '~', text(first + 1))
  else
    call('HSET', partition.key, 'r', text(now))
  end
end

-- Retention that has passed is worked off by whoever comes along.
local function trimWhenDue(partition, now)
  if partition.trimAt and partition.trimAt <= now then
    trim(partition, now)
  end
end

-- Each partition, with what is due in it appended.
local function eachPartition(topic, now, visit)
  for number = 0, tonumber(call('HGET', topic, 'n')) - 1 do
    local partition = partitionOf(topic, tostring(number))
    releaseDue(partition, now)
    visit(partition)
  end
end
`;

const lanePart = `-- Lanes: what a group has settled of a partition. A part that other scripts begin with; needs partition.part.lua.
--
--   T:g<g>:<p>    hash    l everything below is settled · b the position of bit 0 · c what an owner fetched, up to here
--                         · s what is suspect, up to here · x the fence of the grant; absent: nobody owns it
--   T:g<g>:<p>:b  string  one bit per position from \`b\` on: settled; absent while nothing above \`l\` is settled
--   T:g<g>:<p>:h  hash    held entries by position

local function laneOf(topic, group, number)
  local key = topic .. ':g' .. group .. ':' .. number
  local fields = call('HMGET', key, 'l', 'b', 'x')
  return {
    key = key,
    low = tonumber(fields[1]) or 0,
    base = tonumber(fields[2]),
    fence = fields[3],
  }
end

local function setBits(key, from, to)
  while from < to and from % 8 ~= 0 do
    call('SETBIT', key, text(from), 1)
    from = from + 1
  end
  local bytes = math.floor((to - from) / 8)
  if bytes > 0 then
    call('SETRANGE', key, text(from / 8), string.rep('\\255', bytes))
    from = from + bytes * 8
  end
  while from < to do
    call('SETBIT', key, text(from), 1)
    from = from + 1
  end
end

-- Settles the positions from \`from\` to below \`to\`; \`saveLane\` ends a series of these.
local function settle(lane, from, to)
  if from < lane.low then
    from = lane.low
  end
  if from >= to then
    return
  end
  lane.changed = true
  if not lane.base then
    if from == lane.low then
      lane.low = to
      return
    end
    lane.base = lane.low
  end
  lane.bitsChanged = true
  setBits(lane.key .. ':b', from - lane.base, to - lane.base)
end

local function saveLane(lane)
  if not lane.changed then
    return
  end
  if lane.bitsChanged then
    local bits = lane.key .. ':b'
    -- All bits below \`low\` are set, so the first one that is not set is the lowest unsettled position.
    local set = call('BITPOS', bits, 0, text(math.floor((lane.low - lane.base) / 8)))
    lane.low = lane.base + set
    if call('BITCOUNT', bits) == set then
      call('DEL', bits)
      lane.base = nil
    elseif set > 16384 and set > call('STRLEN', bits) * 4 then
      local bytes = math.floor(set / 8)
      call('SET', bits, call('GETRANGE', bits, bytes, -1))
      lane.base = lane.base + bytes * 8
    end
    if not lane.base then
      call('HDEL', lane.key, 'b')
    else
      call('HSET', lane.key, 'b', text(lane.base))
    end
  end
  call('HSET', lane.key, 'l', text(lane.low))
end

local function isSettled(lane, position)
  if position < lane.low then
    return true
  end
  return lane.base ~= nil and call('GETBIT', lane.key .. ':b', text(position - lane.base)) == 1
end

-- How many positions above \`low\` are settled.
local function settledAbove(lane)
  if not lane.base then
    return 0
  end
  return call('BITCOUNT', lane.key .. ':b') - (lane.low - lane.base)
end

-- Settles all below a position, whoever owns the lane.
local function settleAllBelow(topic, group, number, position)
  local lane = laneOf(topic, group, number)
  if lane.low >= position then
    return
  end
  settle(lane, lane.low, position)
  saveLane(lane)
  local held = lane.key .. ':h'
  for _, heldPosition in ipairs(call('HKEYS', held)) do
    if tonumber(heldPosition) < lane.low then
      call('HDEL', held, heldPosition)
    end
  end
end

-- Puts a lane to a position, as if everything below and nothing above were settled; \`nil\`: it stays where it is. What was held
-- is forgotten.
local function moveLane(topic, group, number, position)
  local key = topic .. ':g' .. group .. ':' .. number
  call('UNLINK', key .. ':h')
  if position then
    call('UNLINK', key .. ':b')
    call('HDEL', key, 'b')
    call('HSET', key, 'l', text(position))
  end
end
`;

const groupsPart = `-- Groups: their members, and who owns which lane. A part that other scripts begin with; needs partition.part.lua and
-- lane.part.lua.
--
--   T:g<g>    hash  name · j number of the last member that joined · a what its members agreed on · e its only member, of an
--                   ephemeral one
--   T:g<g>:m  zset  members by the instant at which their sessions end
--   T:g<g>:i  hash  of each member: \`<number> <revokeMs>\`
--   T:g<g>:o  hash  of each owned lane: \`<fence> <member>\`
--   T:g<g>:r  hash  of each lane that was asked back: the instant from which on it is lost
--   T:e       zset  ephemeral groups by the instant at which their member's session ends
-- and the counters of the family, a hash: t topics ever · x grants ever, so that a fence is greater than all before it.

-- Fences count seconds at least: they must stay below 2^31.
local fenceEpochMs = 1767225600000

-- The counter's next value, \`least\` at least: by the clock, so that a failover that lost values does not give them again.
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

-- Makes a group that starts at \`start(partition)\`, and now where that says nothing.
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

-- Takes a lane from its owner. \`orderly\`: the owner gave it back, so that nothing of it is suspect.
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
`;

const appendPart = `-- Appending: what is checked, what is known already, what is written. A part that other scripts begin with; needs
-- partition.part.lua and lane.part.lua.
--
-- A batch in ARGV:
--   index of the topic's key in KEYS · partition · count · producer id, or '' · epoch · sequence · chunks, then
--   chunks × (count, packed messages), or, where \`chunks\` is 0, count × (id or '', due instant or '', packed message)
-- Its answer: the first position; a list of positions (-1: none) where they are not consecutive; or a list that
-- begins with a word that says why not.
--
--   T:q:<id>   hash   a producer: e epoch · x when its life was prolonged · <p> the next sequence and its last five batches,
--                     newest first, as doubles (sequence, count, first position; -1: see the next)
--                     · <p>:<sequence> the positions of a batch that are not consecutive, as doubles
local chunkBytes = 65536
local idsMs, idsMax = 120000, 1000000
local producerMs = 604800000
local batchesRemembered = 5

local function readBatch(at)
  local batch = {
    topic = KEYS[tonumber(ARGV[at])],
    number = ARGV[at + 1],
    count = tonumber(ARGV[at + 2]),
    producer = ARGV[at + 3],
    epoch = tonumber(ARGV[at + 4]),
    sequence = tonumber(ARGV[at + 5]),
    chunks = tonumber(ARGV[at + 6]),
    at = at + 7,
  }
  if batch.chunks > 0 then
    return batch, batch.at + 2 * batch.chunks
  end
  return batch, batch.at + 3 * batch.count
end

-- Answers the positions of a repeated batch, \`nil\` when it is news, or, secondly, why it is refused.
local function knownBatch(batch)
  local key = batch.topic .. ':q:' .. batch.producer
  local fields = call('HMGET', key, 'e', 'x', batch.number)
  batch.stored = fields
  local epoch = tonumber(fields[1])
  if not epoch then
    return nil
  end
  if batch.epoch < epoch then
    return nil, { 'fenced', text(epoch) }
  end
  local remembered = fields[3]
  local expected = 0
  if batch.epoch == epoch and remembered then
    expected = struct.unpack('<d', remembered)
    if batch.sequence < expected then
      for at = 9, #remembered, 24 do
        local sequence, count, first = struct.unpack('<ddd', remembered, at)
        if sequence == batch.sequence and count == batch.count then
          if first >= 0 then
            return first
          end
          local packed = call('HGET', key, batch.number .. ':' .. text(sequence))
          local positions = {}
          for i = 1, count do
            positions[i] = struct.unpack('<d', packed, i * 8 - 7)
          end
          return positions
        end
      end
      return nil, { 'repeated' }
    end
  end
  if batch.sequence ~= expected then
    return nil, { 'gap', text(expected) }
  end
  return nil
end

local function rememberBatch(batch, answer, now)
  local key = batch.topic .. ':q:' .. batch.producer
  local stored = batch.stored
  local remembered = ''
  if tonumber(stored[1]) == batch.epoch then
    remembered = stored[3] or ''
  elseif stored[1] and tonumber(call('HGET', key, 'e')) ~= batch.epoch then
    -- A new epoch; another partition's batch in the same commit may have begun it already.
    call('DEL', key)
    stored[2] = false
  end
  local first = answer
  if type(answer) == 'table' then
    first = -1
    local packed = {}
    for i = 1, #answer do
      packed[i] = struct.pack('<d', answer[i])
    end
    call('HSET', key, batch.number .. ':' .. text(batch.sequence), table.concat(packed))
  end
  if #remembered >= 8 + 24 * batchesRemembered then
    local sequence, _, oldest = struct.unpack('<ddd', remembered, #remembered - 23)
    if oldest < 0 then
      call('HDEL', key, batch.number .. ':' .. text(sequence))
    end
    remembered = string.sub(remembered, 1, -25)
  end
  local value = struct.pack('<dddd', batch.sequence + batch.count, batch.sequence, batch.count, first)
    .. string.sub(remembered, 9)
  local prolonged = tonumber(stored[2])
  if prolonged and now - prolonged < producerMs / 7 then
    call('HSET', key, batch.number, value)
  else
    call('HSET', key, 'e', text(batch.epoch), 'x', text(now), batch.number, value)
    call('PEXPIRE', key, producerMs)
  end
end

-- Ids are remembered for two minutes and a million of them at least: in two generations, of which the elder goes as a whole.
local function idsOf(topic, now)
  local fields = call('HMGET', topic, 'ig', 'is')
  local generation, since = tonumber(fields[1]) or 0, tonumber(fields[2]) or 0
  if now - since >= idsMs or call('HLEN', topic .. ':i' .. generation) >= idsMax then
    call('UNLINK', topic .. ':i' .. (generation - 1))
    if now - since >= 2 * idsMs then
      call('UNLINK', topic .. ':i' .. generation)
    end
    generation = generation + 1
    call('HSET', topic, 'ig', generation, 'is', text(now))
  end
  return { young = topic .. ':i' .. generation, old = topic .. ':i' .. (generation - 1) }
end

-- The position of the message that has the id already, -1 when it has none in this partition; \`nil\` when the id is new.
local function knownId(ids, id, number)
  local place = call('HGET', ids.young, id) or call('HGET', ids.old, id)
  if not place then
    return nil
  end
  local partition, position = string.match(place, '^(%d+):(%d+)$')
  if partition == number then
    return tonumber(position)
  end
  return -1
end

local function noteId(ids, id, place)
  if call('HSET', ids.young, id, place) == 1 and call('HLEN', ids.young) == 1 then
    call('PEXPIRE', ids.young, 2 * idsMs + 10000)
  end
end

local function isDelayed(dueAt, now)
  return dueAt ~= '' and tonumber(dueAt) > now
end

-- How many messages of the topic count against its limit, and per partition.
local function keptOf(topic, partitions)
  local total, delayed, sizes = 0, 0, {}
  for number = 0, partitions - 1 do
    local key = topic .. ':' .. number
    local next = tonumber(call('HGET', key, 'n')) or 0
    local low = settledBelow(topic, number, next)
    sizes[number] = { low = low, size = next - low }
    total = total + next - low
    delayed = delayed + call('ZCARD', key .. ':d')
  end
  return total + delayed, delayed, sizes
end

-- Settles the oldest messages for every group until there is room: the fullest partitions are brought down to one level.
local function evict(topic, partitions, excess, now)
  local _, _, sizes = keptOf(topic, partitions)
  local fullest = {}
  for number = 0, partitions - 1 do
    fullest[#fullest + 1] = { number = number, low = sizes[number].low, size = sizes[number].size }
  end
  table.sort(fullest, function(one, other)
    return one.size > other.size or (one.size == other.size and one.number < other.number)
  end)
  local count, sum = 0, 0
  while count < partitions and not (count > 0 and sum - count * fullest[count + 1].size >= excess) do
    count = count + 1
    sum = sum + fullest[count].size
  end
  local level = math.floor((sum - excess) / count)
  for i = 1, count do
    local evicted = math.min(excess, fullest[i].size - level)
    if evicted > 0 then
      excess = excess - evicted
      for _, group in ipairs(call('HVALS', topic .. ':g')) do
        settleAllBelow(topic, group, fullest[i].number, fullest[i].low + evicted)
      end
      trim(partitionOf(topic, tostring(fullest[i].number)), now)
    end
  end
end

-- Whether the topic takes so many more messages; what is planned for it by the same script is counted.
local function refuseWhenFull(batch, settings, planned, fresh)
  local countMax = tonumber(settings[3])
  if not countMax then
    return nil
  end
  local topic = batch.topic
  local plan = planned[topic] or { count = 0, partitions = tonumber(settings[1]), countMax = countMax }
  local count = plan.count + fresh
  local used = tonumber(settings[5])
  if not used or used + count > countMax then
    local delayed
    used, delayed = keptOf(topic, plan.partitions)
    if used + count > countMax then
      if settings[4] ~= 'evict' or delayed + count > countMax then
        return { 'full', text(countMax), text(used) }
      end
      plan.evicts = used + count - countMax
    end
  end
  plan.count = count
  plan.used = used
  planned[topic] = plan
  return nil
end

local function countFresh(batch, now)
  if batch.chunks > 0 then
    return batch.count
  end
  local ids, fresh, seen = nil, 0, {}
  for i = 0, batch.count - 1 do
    local id = ARGV[batch.at + 3 * i]
    if id == '' then
      fresh = fresh + 1
    elseif not seen[id] then
      ids = ids or idsOf(batch.topic, now)
      seen[id] = true
      if not knownId(ids, id, batch.number) then
        fresh = fresh + 1
      end
    end
  end
  return fresh
end

-- Why the batch is refused; \`nil\` when it may be written. \`planned\`: what this script is going to write, by topic.
local function checkBatch(batch, planned, now)
  local settings = call('HMGET', batch.topic, 'n', 'c', 'm', 'f', 'u', 'z')
  if not settings[1] then
    return { 'gone' }
  end
  if tonumber(batch.number) >= tonumber(settings[1]) then
    return { 'partition', settings[1] }
  end
  batch.groups = tonumber(settings[2]) or 0
  if batch.producer ~= '' then
    local known, refusal = knownBatch(batch)
    if refusal then
      return refusal
    end
    batch.known = known
    if known then
      return nil
    end
  end
  if settings[6] then
    return { 'sealed', settings[6] }
  end
  if settings[3] then
    return refuseWhenFull(batch, settings, planned, countFresh(batch, now))
  end
  return nil
end

-- Makes room where \`checkBatch\` found that it is needed, and notes what the topic is going to hold.
local function makeRoom(planned, now)
  for topic, plan in pairs(planned) do
    if plan.evicts then
      evict(topic, plan.partitions, plan.evicts, now)
      call('HSET', topic, 'u', text(plan.countMax))
    else
      call('HSET', topic, 'u', text(plan.used + plan.count))
    end
  end
end

local function addDelayed(partition, id, dueAt, packed)
  local number = call('HINCRBY', partition.key, 's', 1)
  local member = struct.pack('>d', number) .. string.char(#id) .. id .. packed
  call('ZADD', partition.key .. ':d', dueAt, member)
  if not partition.due or tonumber(dueAt) < partition.due then
    partition.due = tonumber(dueAt)
    call('HSET', partition.key, 'd', dueAt)
    partition.grown = true
  end
end

-- Writes messages of which some have ids, of which some may be known, and some are delayed.
local function addSpecial(partition, batch, now)
  local ids
  local positions, run, runBytes = {}, {}, 0
  local function endRun()
    if #run > 0 then
      addRun(partition, #run, table.concat(run), now)
      run, runBytes = {}, 0
    end
  end
  for i = 1, batch.count do
    local at = batch.at + 3 * (i - 1)
    local id, dueAt, packed = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local known
    if id ~= '' then
      ids = ids or idsOf(batch.topic, now)
      known = knownId(ids, id, batch.number)
    end
    if known then
      positions[i] = known
    elseif isDelayed(dueAt, now) then
      positions[i] = -1
      addDelayed(partition, id, dueAt, packed)
      if id ~= '' then
        noteId(ids, id, '-')
      end
    else
      positions[i] = partition.next + #run
      run[#run + 1] = packed
      runBytes = runBytes + #packed
      if id ~= '' then
        noteId(ids, id, batch.number .. ':' .. text(positions[i]))
      end
      if runBytes >= chunkBytes then
        endRun()
      end
    end
  end
  endRun()
  return positions
end

-- Writes a batch that was checked; answers its first position, or all of them.
local function writeBatch(batch, now)
  if batch.known then
    return batch.known
  end
  local partition = partitionOf(batch.topic, batch.number)
  releaseDue(partition, now)
  local answer
  if batch.chunks > 0 then
    answer = partition.next
    for i = 0, batch.chunks - 1 do
      addRun(partition, tonumber(ARGV[batch.at + 2 * i]), ARGV[batch.at + 2 * i + 1], now)
    end
  else
    answer = addSpecial(partition, batch, now)
  end
  if batch.producer ~= '' then
    rememberBatch(batch, answer, now)
  end
  if partition.grown then
    save(partition)
  end
  if batch.groups == 0 then
    trim(partition, now)
  else
    trimWhenDue(partition, now)
  end
  return answer
end
`;

const commitPart = `-- Recording a lane's progress. A part that other scripts begin with; needs partition.part.lua and lane.part.lua.
--
-- A change in ARGV, from 1 on:
--   group number · partition · fence · origin · ranges: pairs of u32, distance from \`origin\` and length · held entries ·
--   forgotten entries, then held × (position, entry), then forgotten × position

local trimMs, trimCount = 200, 256

local function readChange(topic)
  local lane = laneOf(topic, ARGV[1], ARGV[2])
  local change = { lane = lane, from = {}, to = {}, held = tonumber(ARGV[6]), forgotten = tonumber(ARGV[7]), at = 8 }
  local origin, ranges = tonumber(ARGV[4]), ARGV[5]
  local last = 0
  for at = 1, #ranges, 8 do
    local distance, length = struct.unpack('<I4I4', ranges, at)
    local index = #change.from + 1
    change.from[index] = origin + distance
    change.to[index] = origin + distance + length
    last = origin + distance + length
  end
  for i = 0, change.held - 1 do
    last = math.max(last, tonumber(ARGV[change.at + 2 * i]) + 1)
  end
  change.last = last
  return change, change.at + 2 * change.held + change.forgotten
end

-- Why the change is refused; \`nil\` when it may be written.
local function checkChange(topic, change)
  if change.lane.fence ~= ARGV[3] then
    return { 'lost' }
  end
  change.partition = partitionOf(topic, ARGV[2])
  if change.last > change.partition.next then
    return { 'position', text(change.partition.next) }
  end
  return nil
end

local function writeChange(change)
  local lane, partition, heldKey = change.lane, change.partition, change.lane.key .. ':h'
  local before = lane.low
  for i = 1, #change.from do
    settle(lane, change.from[i], change.to[i])
  end
  saveLane(lane)
  local at = change.at
  for _ = 1, change.held do
    local position = tonumber(ARGV[at])
    if not isSettled(lane, position) then
      call('HSET', heldKey, ARGV[at], ARGV[at + 1])
    end
    at = at + 2
  end
  for from = at, at + change.forgotten - 1, 1000 do
    call('HDEL', heldKey, unpack(ARGV, from, math.min(from + 999, at + change.forgotten - 1)))
  end
  if lane.low > before then
    local now = clock()
    -- Not with every commit: it takes a look at every group.
    local waited = now - partition.trimmedAt >= trimMs
    local far = math.floor(lane.low / trimCount) > math.floor(before / trimCount)
    if waited or far or lane.low == partition.next then
      trim(partition, now)
    end
  end
end
`;

const positionsPart = `-- Where a group starts. A part that other scripts begin with; needs partition.part.lua.
--
-- A target in ARGV: \`now\` · \`earliest\` · \`at\`, instant · \`positions\`, how many, (partition, position) × so many

-- The target as a function from a partition to a position, \`nil\` where it says nothing of that one.
local function readTarget(at)
  local kind = ARGV[at]
  if kind == 'now' then
    return function(partition)
      return partition.next
    end
  elseif kind == 'earliest' then
    return function(partition)
      return partition.first
    end
  elseif kind == 'at' then
    local instant = tonumber(ARGV[at + 1])
    -- The first run published at or after the instant: within a partition, instants never go back.
    return function(partition)
      local from, to = partition.first, partition.next
      while from < to do
        local middle = math.floor((from + to) / 2)
        local run = call('XRANGE', partition.stream, text(middle + 1), '+', 'COUNT', 1)[1]
        local last, count = string.match(run[1], '^(%d+)-(%d+)$')
        if tonumber(run[2][1]) >= instant then
          to = math.min(middle, last - count)
        else
          from = tonumber(last)
        end
      end
      return math.max(from, partition.first)
    end
  end
  local positions = {}
  for i = 0, tonumber(ARGV[at + 1]) - 1 do
    positions[ARGV[at + 2 + 2 * i]] = tonumber(ARGV[at + 3 + 2 * i])
  end
  return function(partition)
    local position = positions[partition.number]
    return position and math.min(math.max(position, partition.first), partition.next)
  end
end
`;

export const append: Script = {
  name: "messages/scripts/append",
  sha: "8af23e50af394e2c04cc86253259fd86e91e2ee5",
  source: `-- Appends batches, each as a whole or not at all, in the order given.
-- KEYS: the topics' settings (T); everything else is derived under their hash tag, see the parts.
-- ARGV: how many batches, then the batches as append.part.lua says.
-- Answers one item per batch, as append.part.lua says.

${partitionPart}${lanePart}${groupsPart}${appendPart}
local now = clock()
removeEndedBeforeAppending(KEYS, now)
local answers = {}
local at = 2
for i = 1, tonumber(ARGV[1]) do
  local batch
  batch, at = readBatch(at)
  local planned = {}
  local refusal = checkBatch(batch, planned, now)
  if refusal then
    answers[i] = refusal
  else
    makeRoom(planned, now)
    answers[i] = writeBatch(batch, now)
  end
end
return answers
`,
};

export const commitAppends: Script = {
  name: "messages/scripts/commit-appends",
  sha: "33dd38b9f6dda608ff4889f9ba0cf3d884a43e7e",
  source: `-- Records a lane's progress and appends batches: all of it or nothing.
-- KEYS[1]: the lane's topic's settings (T); further KEYS: those of the batches' topics. Everything else is derived under
-- their hash tags, see the parts.
-- ARGV: the change as commit.part.lua says, how many batches, and the batches as append.part.lua says.
-- Answers {'lost'}, {'position', the next position}, {'batch', its number from 0, why it is refused, …}, or the lowest
-- unsettled position.

${partitionPart}${lanePart}${groupsPart}${appendPart}${commitPart}
local now = clock()
removeEndedBeforeAppending(KEYS, now)
local change, at = readChange(KEYS[1])
local refusal = checkChange(KEYS[1], change)
if refusal then
  return refusal
end
local batches, planned = {}, {}
local count = tonumber(ARGV[at])
at = at + 1
for i = 1, count do
  batches[i], at = readBatch(at)
  refusal = checkBatch(batches[i], planned, now)
  if refusal then
    return { 'batch', i - 1, unpack(refusal) }
  end
end
makeRoom(planned, now)
for i = 1, count do
  writeBatch(batches[i], now)
end
-- The lane and its partition as the appends left them.
change.lane = laneOf(KEYS[1], ARGV[1], ARGV[2])
change.partition = partitionOf(KEYS[1], ARGV[2])
writeChange(change)
return { change.lane.low }
`,
};

export const commit: Script = {
  name: "messages/scripts/commit",
  sha: "a14f40244a1bd1b8d5e7e2c9cf11a5caa01cec4c",
  source: `#!lua flags=allow-oom
-- Records a lane's progress: all of it or nothing.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: the change as commit.part.lua says.
-- Answers {'lost'}, {'position', the next position} where one does not exist, or the lowest unsettled position.

${partitionPart}${lanePart}${commitPart}
local change = readChange(KEYS[1])
local refusal = checkChange(KEYS[1], change)
if refusal then
  return refusal
end
writeChange(change)
return { change.lane.low }
`,
};

export const declare: Script = {
  name: "messages/scripts/declare",
  sha: "090a62e5952ae4414f0ddb32a89401ef864af0b7",
  source: `-- Makes a topic and its groups where they are not there, and changes the settings that are given.
-- KEYS[1]: the family's topics, a hash from name to number · KEYS[2]: the family's counters, a hash · KEYS[3], where it is in reach:
-- all topics, a hash from name to number.
-- The topic's settings are T = ARGV[1] .. its number, under the same hash tag; everything else is derived from T.
-- ARGV: what T begins with · topic · partitions · retentionMs of a new topic · retentionMs, or '' · countMax, or '' · whenFull,
-- or '' · '=' and the note of its seal, nothing behind it to open the topic, or '' · groups …
-- Answers {the topic's number}, {'partitions', their number} where that is another one, {'ephemeral', the name} of a group that
-- belongs to one member.

${partitionPart}${lanePart}${groupsPart}
local name, partitions = ARGV[2], ARGV[3]
local now = clock()
local number = call('HGET', KEYS[1], name)
local topic
if number then
  topic = ARGV[1] .. number
  local declared = call('HGET', topic, 'n')
  if declared ~= partitions then
    return { 'partitions', declared }
  end
  removeEnded(topic, now)
  for i = 9, #ARGV do
    local group = call('HGET', topic .. ':g', ARGV[i])
    if group and call('HEXISTS', topic .. ':g' .. group, 'e') == 1 then
      return { 'ephemeral', ARGV[i] }
    end
  end
else
  number = text(grow(KEYS[2], 't', now))
  topic = ARGV[1] .. number
  call('HSET', KEYS[1], name, number)
  call('HSET', topic, 'name', name, 'n', partitions, 'r', ARGV[4])
end
for i, field in ipairs({ 'r', 'm', 'f' }) do
  if ARGV[4 + i] ~= '' then
    call('HSET', topic, field, ARGV[4 + i])
  end
end
-- Scripts run one after the other, so that whatever appends from now on sees it.
if ARGV[8] == '=' then
  call('HDEL', topic, 'z')
elseif ARGV[8] ~= '' then
  call('HSET', topic, 'z', string.sub(ARGV[8], 2))
end
for i = 9, #ARGV do
  if not call('HGET', topic .. ':g', ARGV[i]) then
    makeGroup(topic, ARGV[i], atNext, now)
  end
end
if KEYS[3] then
  call('HSET', KEYS[3], name, number)
end
return { tonumber(number) }
`,
};

export const describe: Script = {
  name: "messages/scripts/describe",
  sha: "405909f6b6ee1daae559f3df3df340b112f17b7e",
  source: `#!lua flags=allow-oom
-- Describes a topic, exactly.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- Answers {'gone'} when there is no such topic, else:
--   0 · retentionMs · countMax, or '' · whenFull, or '' · number of delayed messages · (first, next) of each partition ·
--   (group, members, whether it ends with its member (1) or not (0), (low, lag, held, when the oldest was published, or '') of each partition) of each group · the note of its seal, or ''

${partitionPart}${lanePart}${groupsPart}
local topic = KEYS[1]
local settings = call('HMGET', topic, 'r', 'm', 'f', 'z')
if not settings[1] then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local partitions, delayed, extents = {}, 0, {}
eachPartition(topic, now, function(partition)
  trimWhenDue(partition, now)
  partitions[#partitions + 1] = partition
  extents[#extents + 1] = text(partition.first)
  extents[#extents + 1] = text(partition.next)
  if partition.due then
    delayed = delayed + call('ZCARD', partition.key .. ':d')
  end
end)
local groups = {}
local names = call('HGETALL', topic .. ':g')
for i = 1, #names, 2 do
  local group = names[i + 1]
  local described = { names[i], call('ZCOUNT', topic .. ':g' .. group .. ':m', '(' .. text(now), '+inf'),
    call('HEXISTS', topic .. ':g' .. group, 'e'), {} }
  local lanes = described[4]
  for _, partition in ipairs(partitions) do
    local lane = laneOf(topic, group, partition.number)
    local lag = partition.next - lane.low - settledAbove(lane)
    local oldest = ''
    if lag > 0 then
      oldest = call('XRANGE', partition.stream, text(lane.low + 1), '+', 'COUNT', 1)[1][2][1]
    end
    lanes[#lanes + 1] = text(lane.low)
    lanes[#lanes + 1] = text(lag)
    lanes[#lanes + 1] = text(call('HLEN', lane.key .. ':h'))
    lanes[#lanes + 1] = oldest
  end
  groups[#groups + 1] = described
end
return { 0, settings[1], settings[2] or '', settings[3] or '', text(delayed), extents, groups, settings[4] or '' }
`,
};

export const fetch: Script = {
  name: "messages/scripts/fetch",
  sha: "845e9838b0c73bd3343edbbf38c79a3b75739106",
  source: `#!lua flags=allow-oom
-- The next runs of a lane, from its owner's cursor on.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group number · partition · fence · cursor · how many messages · windowMax · how many bytes, about
-- Answers {'lost'} when another grant, or none, holds the lane; else: the lowest unsettled position · the next position ·
-- in how many ms the next delayed message is due, -1 when none is · runs as (id, instant of publishing, packed messages).

${partitionPart}
local topic, group, number, fence = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local cursor, limit, windowMax, bytesMax = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local key = topic .. ':g' .. group .. ':' .. number
local fields = call('HMGET', key, 'x', 'l', 'c')
if fields[1] ~= fence then
  return { 'lost' }
end
local low = tonumber(fields[2]) or 0
local partition = partitionOf(topic, number)
local now
if partition.due then
  now = clock()
  releaseDue(partition, now)
end
if partition.trimAt then
  now = now or clock()
  trimWhenDue(partition, now)
end
if cursor < low then
  cursor = low
end
local answer = { low, partition.next, partition.due and math.max(0, math.ceil(partition.due - now)) or -1 }
local stop = math.min(partition.next, low + windowMax)
local from, messages, bytes, runs, want = cursor, 0, 0, 0, 4
while from < stop and messages < limit and bytes < bytesMax do
  local found = call('XRANGE', partition.stream, text(from + 1), '+', 'COUNT', want)
  if #found == 0 then
    break
  end
  for i = 1, #found do
    local id, content = found[i][1], found[i][2]
    local last, count = string.match(id, '^(%d+)-(%d+)$')
    last = tonumber(last)
    if last - count >= stop then
      break
    end
    answer[#answer + 1] = id
    answer[#answer + 1] = content[1]
    answer[#answer + 1] = content[2]
    messages = messages + last - math.max(from, last - count)
    bytes = bytes + #content[2]
    runs = runs + 1
    from = last
    if messages >= limit or bytes >= bytesMax then
      break
    end
  end
  -- As many as will probably do, by what was seen.
  local byCount = math.ceil((limit - messages) * runs / math.max(1, messages))
  local byBytes = math.ceil((bytesMax - bytes) * runs / math.max(1, bytes))
  want = math.max(1, math.min(byCount, byBytes, want * 8, 256))
end
if from > cursor then
  -- Whoever comes after an owner that vanished must know how far it got.
  if from > (tonumber(fields[3]) or 0) then
    call('HSET', key, 'c', text(from))
  end
elseif cursor >= partition.next and not partition.waiting then
  call('HSET', partition.key, 'w', 1)
end
return answer
`,
};

export const join: Script = {
  name: "messages/scripts/join",
  sha: "3003d736f81f0d26ee3ccc0a5f9ee9b9c1784c6f",
  source: `-- Makes a member of a group, and the group where it is not there. Idempotent for the same member.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · member · sessionMs · revokeMs · agreement · 1 when ephemeral · 1 when the group may be made · target as
-- positions.part.lua says.
-- Answers {'gone'} when there is no such topic, {'group'} when the group is not there and may not be made, {'exists'} when an
-- ephemeral one is there, {'ephemeral'} when it is another member's, {'agreement'} when its members agreed on something else;
-- else: the group's number, then as \`reportTo\` of groups.part.lua.

${partitionPart}${lanePart}${positionsPart}${groupsPart}
local topic, name, id, agreement = KEYS[1], ARGV[1], ARGV[2], ARGV[5]
local sessionMs, ephemeral = tonumber(ARGV[3]), ARGV[6] == '1'
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local group = call('HGET', topic .. ':g', name)
if group then
  local only = call('HGET', topic .. ':g' .. group, 'e')
  if ephemeral and only ~= id then
    return { 'exists' }
  elseif only and only ~= id then
    return { 'ephemeral' }
  end
  local others = call('ZCOUNT', topic .. ':g' .. group .. ':m', '(' .. text(now), '+inf')
  if others > 0 and (call('HGET', topic .. ':g' .. group, 'a') or '') ~= agreement then
    return { 'agreement' }
  end
elseif ARGV[7] == '1' then
  group = makeGroup(topic, name, readTarget(8), now)
else
  return { 'group' }
end
local key = topic .. ':g' .. group
if call('HEXISTS', key .. ':i', id) == 0 then
  call('HSET', key .. ':i', id, call('HINCRBY', key, 'j', 1) .. ' ' .. ARGV[4])
end
call('HSET', key, 'a', agreement)
call('ZADD', key .. ':m', text(now + sessionMs), id)
if ephemeral then
  call('HSET', key, 'e', id)
  call('ZADD', topic .. ':e', text(now + sessionMs), group)
  countEphemeral(topic)
end
local byId, revoked, soonest = balance(topic, KEYS[2], group, now)
return { tonumber(group), unpack(reportTo(id, byId, revoked, soonest, now)) }
`,
};

export const leave: Script = {
  name: "messages/scripts/leave",
  sha: "3dc7820d25642df7443b6b4ba500c8bc324ab886",
  source: `#!lua flags=allow-oom
-- A member leaves its group, and its lanes pass on. Idempotent.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · member · 1 when it gives its lanes back, 0 when it lost them and what it fetched is suspect.
-- Answers {}.

${partitionPart}${lanePart}${groupsPart}
local topic, name, id, orderly = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local group = call('HGET', topic .. ':g', name)
if not group then
  return {}
end
local key = topic .. ':g' .. group
if call('ZREM', key .. ':m', id) == 0 then
  return {}
end
call('HDEL', key .. ':i', id)
local now = clock()
if call('HGET', key, 'e') == id then
  removeGroup(topic, name, group)
  trimAll(topic, now)
  return {}
end
local owners = call('HGETALL', key .. ':o')
for i = 1, #owners, 2 do
  if string.match(owners[i + 1], ' (%S+)$') == id then
    takeLane(topic, group, owners[i], orderly)
  end
end
balance(topic, KEYS[2], group, now)
return {}
`,
};

export const listTopic: Script = {
  name: "messages/scripts/list-topic",
  sha: "bdeab0dbc18527e27738c2339be1800dba54cab4",
  source: `-- Notes in the list of all topics, which is in another slot than the topics, that one was made or removed. Numbers grow within a
-- name, so that a note that comes late changes nothing.
-- KEYS[1]: all topics, a hash from name to number.
-- ARGV: topic · its number · 1 when it was made, 0 when it was removed.
-- Answers {}.
local listed = tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0
local number = tonumber(ARGV[2])
if ARGV[3] == '1' and number > listed then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif ARGV[3] == '0' and number >= listed then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {}
`,
};

export const openLane: Script = {
  name: "messages/scripts/open-lane",
  sha: "fbb5d138747a86ffec89a1529a362956789a92d6",
  source: `#!lua flags=allow-oom
-- What a new owner has to know of its lane.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group number · partition · fence.
-- Answers {'lost'} when another grant, or none, holds the lane; else: low · what is suspect, up to here · the position of bit
-- 0, -1 when there are no bits · the bits of settled positions · held entries as (position, entry).

${partitionPart}
local key = KEYS[1] .. ':g' .. ARGV[1] .. ':' .. ARGV[2]
local fields = call('HMGET', key, 'x', 'l', 's', 'b')
if fields[1] ~= ARGV[3] then
  return { 'lost' }
end
local answer = {
  tonumber(fields[2]) or 0,
  tonumber(fields[3]) or 0,
  tonumber(fields[4]) or -1,
  fields[4] and call('GET', key .. ':b') or '',
}
for _, item in ipairs(call('HGETALL', key .. ':h')) do
  answer[#answer + 1] = item
end
return answer
`,
};

export const release: Script = {
  name: "messages/scripts/release",
  sha: "4261f21e7bcc9a84b5b54bf8b58fd520f4c23046",
  source: `#!lua flags=allow-oom
-- An owner gives its lane back. Idempotent.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group number · partition · fence · 1 when all is in order, 0 when what was fetched is suspect.
-- Answers {}.

${partitionPart}${lanePart}${groupsPart}
local topic, group, number = KEYS[1], ARGV[1], ARGV[2]
if call('HGET', topic .. ':g' .. group .. ':' .. number, 'x') == ARGV[3] then
  takeLane(topic, group, number, ARGV[4] == '1')
  announce(topic, group)
  balance(topic, KEYS[2], group, clock())
end
return {}
`,
};

export const removeGroup: Script = {
  name: "messages/scripts/remove-group",
  sha: "de9d6c60bbff7359c2bc99ce29a84630cec2ed7f",
  source: `#!lua flags=allow-oom
-- Deletes a group with its progress.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group.
-- Answers {}, {'gone'} when there is no such topic, {'group'} when it has no such group.

${partitionPart}${lanePart}${groupsPart}
local topic = KEYS[1]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local group = call('HGET', topic .. ':g', ARGV[1])
if not group then
  return { 'group' }
end
removeGroup(topic, ARGV[1], group)
trimAll(topic, clock())
return {}
`,
};

export const remove: Script = {
  name: "messages/scripts/remove",
  sha: "522d485ef9204cdede72e71c96a5719c6617d98d",
  source: `#!lua flags=allow-oom
-- Deletes a topic. What producers were remembered by is out of reach from then on, and expires.
-- KEYS[1]: the family's topics, a hash from name to number · KEYS[2], where it is in reach: all topics, a hash from name to number.
-- ARGV: what T begins with (see declare.lua) · topic.
-- Answers {the topic's number}, or {'gone'} when there is none.

${partitionPart}${lanePart}${groupsPart}
local number = call('HGET', KEYS[1], ARGV[2])
if not number then
  return { 'gone' }
end
local topic = ARGV[1] .. number
call('HDEL', KEYS[1], ARGV[2])
local groups = call('HGETALL', topic .. ':g')
for i = 1, #groups, 2 do
  removeGroup(topic, groups[i], groups[i + 1])
end
for partition = 0, tonumber(call('HGET', topic, 'n')) - 1 do
  local key = topic .. ':' .. partition
  call('UNLINK', key, key .. ':m', key .. ':d', key .. ':k')
end
local generation = tonumber(call('HGET', topic, 'ig')) or 0
call('UNLINK', topic, topic .. ':g', topic .. ':e', topic .. ':i' .. generation, topic .. ':i' .. (generation - 1))
if KEYS[2] then
  call('HDEL', KEYS[2], ARGV[2])
end
return { tonumber(number) }
`,
};

export const renew: Script = {
  name: "messages/scripts/renew",
  sha: "4cde56d7f1f8d4efa39a5c4960c08801170f91c1",
  source: `#!lua flags=allow-oom
-- Renews a member's session and brings its group's lanes to where they belong.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group number · member · sessionMs.
-- Answers {'gone'} when there is no such topic, {'group'} when the group was removed, {'ended'} when the member's session has
-- ended; else as \`reportTo\` of groups.part.lua.

${partitionPart}${lanePart}${groupsPart}
local topic, group, id = KEYS[1], ARGV[1], ARGV[2]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local key = topic .. ':g' .. group
if call('EXISTS', key) == 0 then
  return { 'group' }
end
local ends = tonumber(call('ZSCORE', key .. ':m', id))
if not ends or ends <= now then
  balance(topic, KEYS[2], group, now)
  return { 'ended' }
end
local sessionEnds = text(now + tonumber(ARGV[3]))
call('ZADD', key .. ':m', sessionEnds, id)
call('ZADD', topic .. ':e', 'XX', sessionEnds, group)
local byId, revoked, soonest = balance(topic, KEYS[2], group, now)
return reportTo(id, byId, revoked, soonest, now)
`,
};

export const seek: Script = {
  name: "messages/scripts/seek",
  sha: "3bb7881c64a144eeed0ebe88f5752fa4b8b87d07",
  source: `-- Sets a group's positions; every lane that is owned is lost to its owner and granted anew.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · target as positions.part.lua says.
-- Answers {}, {'gone'} when there is no such topic, {'group'} when it has no such group.

${partitionPart}${lanePart}${positionsPart}${groupsPart}
local topic = KEYS[1]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local group = call('HGET', topic .. ':g', ARGV[1])
if not group then
  return { 'group' }
end
local now = clock()
local target = readTarget(2)
eachPartition(topic, now, function(partition)
  takeLane(topic, group, partition.number, true)
  moveLane(topic, group, partition.number, target(partition))
  trim(partition, now)
end)
call('HDEL', topic, 'u')
announce(topic, group)
balance(topic, KEYS[2], group, now)
return {}
`,
};
