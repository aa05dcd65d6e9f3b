-- Partitions: their messages, what is delayed, what is trimmed. A part that other scripts begin with.
--
-- Messages stand in *runs*, one stream entry each: id `<position behind its last message>-<how many>`, one field whose
-- name is the instant of publishing and whose value is the packed messages. Positions are dense, so that the run that
-- holds a position is the first whose id is greater.
--
-- Keys, all derived from the topic's (`T`, a hash of its settings) and so in its slot:
--   T:<p>      hash    n next position · a last publishing instant · d first due instant · f first kept position
--                      · w a lane waits · t when retention frees something next · r when that was looked at last · s number of delayed messages ever
--   T:<p>:m    stream  the runs
--   T:<p>:d    zset    delayed messages by due instant: number (8 bytes), length of the id, id, packed message
--   T:<p>:k    list    marks of retention: `<opened> <closed> <position>`
--   T:g        hash    the number of each group by name
--   T:i<n>     hash    the n-th generation of message ids: `<partition>:<position>`, or `-` while delayed
--   T:w        channel the number of a partition that changed, or `g<group number>` when a group's members shall look
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
-- below `first` is out of sight.
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
