-- Appending: what is checked, what is known already, what is written. A part that other scripts begin with; needs
-- partition.part.lua and lane.part.lua.
--
-- A batch in ARGV:
--   index of the topic's key in KEYS · partition · count · producer id, or '' · epoch · sequence · chunks, then
--   chunks × (count, packed messages), or, where `chunks` is 0, count × (id or '', due instant or '', packed message)
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

-- Answers the positions of a repeated batch, `nil` when it is news, or, secondly, why it is refused.
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

-- The position of the message that has the id already, -1 when it has none in this partition; `nil` when the id is new.
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

-- Why the batch is refused; `nil` when it may be written. `planned`: what this script is going to write, by topic.
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

-- Makes room where `checkBatch` found that it is needed, and notes what the topic is going to hold.
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
