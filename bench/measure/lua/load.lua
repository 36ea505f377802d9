-- The one load script, for every contender: random reads, uploads with bodies of their own, and mixes.
-- Arguments after `--`, all required:
--   PATHS      file with one request target a line, or `-` when nothing is read
--   ORDER      `random`: any of them, again and again; `once`: in the file's order, for cold reads
--   SHARE      writes among the requests, 0 to 1
--   IMAGES     photos in one write; 0 sends a raw image body, 1 and more a multipart form
--   HEAD TAIL  files with a photo's bytes before and after its serial number; `-` when nothing is written
--   SERIAL     first serial number, a decimal integer
-- It prints one line, RESULT and a JSON object, for measure/load.py to read. Status codes are wrk's:
-- 400 and above count as errors.

local threads = {}
local boundary = "hayloft-bench-boundary-7f3a"

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

local function slurp(name)
  local file = assert(io.open(name, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

local requests, order, share, images, head, tail, prefix, part_prefix, part_suffix
reads, writes = 0, 0

local function prepare_writes(host)
  local size = #head + 16 + #tail
  if images == 0 then
    prefix = string.format(
      "POST /upload HTTP/1.1\r\nHost: %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", host, size)
    return
  end
  part_prefix = "--" .. boundary ..
    "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"photo.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"
  part_suffix = "\r\n"
  local length = images * (#part_prefix + size + #part_suffix) + #boundary + 6
  prefix = string.format(
    "POST /upload HTTP/1.1\r\nHost: %s\r\nContent-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n",
    host, boundary, length)
end

function init(args)
  local host = wrk.host .. ":" .. wrk.port
  requests = {}
  order = args[2]
  share = tonumber(args[3])
  images = tonumber(args[4])
  if args[1] ~= "-" then
    for line in io.lines(args[1]) do
      requests[#requests + 1] = "GET " .. line .. " HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
    end
  end
  if args[5] ~= "-" then
    head, tail = slurp(args[5]), slurp(args[6])
    prepare_writes(host)
  end
  serial = tonumber(args[7])
  math.randomseed(serial + number)
end

local function next_read()
  reads = reads + 1
  if order == "once" then
    return requests[(reads - 1) % #requests + 1]
  end
  return requests[math.random(#requests)]
end

local function next_serial()
  serial = serial + 1
  return string.format("%016x", serial)
end

local function next_write()
  writes = writes + 1
  if images == 0 then
    return prefix .. head .. next_serial() .. tail
  end
  local pieces = { prefix }
  for _ = 1, images do
    pieces[#pieces + 1] = part_prefix
    pieces[#pieces + 1] = head
    pieces[#pieces + 1] = next_serial()
    pieces[#pieces + 1] = tail
    pieces[#pieces + 1] = part_suffix
  end
  pieces[#pieces + 1] = "--" .. boundary .. "--\r\n"
  return table.concat(pieces)
end

function request()
  if share == 0 then return next_read() end
  if share == 1 or math.random() < share then return next_write() end
  return next_read()
end

function done(summary, latency, _)
  local sent_reads, sent_writes = 0, 0
  for _, thread in ipairs(threads) do
    sent_reads = sent_reads + thread:get("reads")
    sent_writes = sent_writes + thread:get("writes")
  end
  io.write(string.format(
    'RESULT {"duration_us":%d,"requests":%d,"bytes":%d,"reads_sent":%d,"writes_sent":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.duration, summary.requests, summary.bytes, sent_reads, sent_writes,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status,
    summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
