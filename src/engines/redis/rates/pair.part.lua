-- A state of two numbers (f64 each): the instant of the last change, and an amount at it.
local function load(key)
  local packed = call('GET', key)
  if not packed then return nil end
  return struct.unpack('<dd', packed)
end

local function save(key, amount, ends)
  call('SET', key, struct.pack('<dd', now, amount), 'PXAT', instant(ends))
end

-- So much may be missing, lest rounding refuse what has just become free. It is taken all the same, so it never adds up.
local tolerance = 1e-9

local function whole(amount)
  return math.max(0, math.min(math.floor(amount + tolerance), forever))
end
