-- Reads from each request what its route depends on, and notes it in headers: the logical model, where its
-- name stands in the body, whether a stream is asked for, and how long the answer may be. What a caller sends in
-- these headers by itself is not believed. WORKLOAD and ORIGIN are for callers that name none.
local function string_end(text, at)
  while true do
    at = string.find(text, '["\\]', at + 1)
    if at == nil or string.byte(text, at) == 34 then
      return at
    end
    at = at + 1
  end
end

-- Walks over a JSON object once and reads its own fields, not those of values within it.
local function read_json(text)
  local fields, depth, at, key = {}, 0, 1, nil
  while true do
    at = string.find(text, '["{}%[%]:,]', at)
    if at == nil then
      return fields
    end
    local mark = string.sub(text, at, at)
    if mark == '"' then
      local last = string_end(text, at)
      if last == nil then
        return fields
      end
      if depth == 1 and key == "model" then
        fields.model, fields.first, fields.last = string.sub(text, at + 1, last - 1), at + 1, last - 1
        key = nil
      elseif depth == 1 and key == nil then
        local after = string.find(text, "%S", last + 1)
        if after ~= nil and string.sub(text, after, after) == ":" then
          key = string.sub(text, at + 1, last - 1)
          at, last = after, after
          if key == "stream" and string.find(text, "^%s*true", after + 1) then
            fields.stream = true
          elseif key == "max_tokens" or key == "max_completion_tokens" or key == "max_output_tokens" then
            fields.output_max = string.match(text, "^%s*(%d+)", after + 1) or fields.output_max
          end
        end
      end
      at = last
    elseif mark == "{" or mark == "[" then
      depth = depth + 1
    elseif mark == "}" or mark == "]" then
      depth = depth - 1
    elseif mark == "," and depth == 1 then
      key = nil
    end
    at = at + 1
  end
end

-- Reads the fields of a form, as uploads of sound and pictures are sent.
local function read_form(text)
  local first, model, last = string.match(text, 'form%-data;%s*name="?model"?\r?\n\r?\n()([^\r\n]+)()')
  local fields = { model = model, first = first, last = last and last - 1 }
  fields.stream = string.find(text, 'form%-data;%s*name="?stream"?\r?\n\r?\ntrue') ~= nil
  return fields
end

local function read(kind, text)
  if string.find(kind, "application/json", 1, true) then
    return read_json(text)
  elseif string.find(kind, "multipart/form-data", 1, true) then
    return read_form(text)
  end
  return {}
end

function envoy_on_request(handle)
  local headers = handle:headers()
  for _, name in ipairs({ "model", "model-at", "stream", "costly", "output-max" }) do
    headers:remove("x-tieline-" .. name)
  end
  if headers:get("x-tieline-workload") == nil then
    headers:replace("x-tieline-workload", "WORKLOAD")
  end
  if headers:get("x-tieline-origin") == nil then
    headers:replace("x-tieline-origin", "ORIGIN")
  end
  local path = headers:get(":path")
  if string.find(path, "^/v1/images/") or string.find(path, "^/v1/audio/") or string.find(path, "^/v1/videos") then
    headers:replace("x-tieline-costly", "1")
  end
  local deadline = tonumber(headers:get("x-tieline-deadline") or "")
  if deadline ~= nil and deadline > 0 then
    headers:replace("x-envoy-upstream-rq-timeout-ms", string.format("%d", math.ceil(deadline * 1000)))
  end
  local kind = headers:get("content-type") or ""
  if string.find(kind, "application/json", 1, true) or string.find(kind, "multipart/form-data", 1, true) then
    local body = handle:body()
    if body ~= nil and body:length() > 0 then
      local fields = read(kind, tostring(body:getBytes(0, body:length())))
      headers = handle:headers() -- those from before the wait for the body are gone
      if fields.model ~= nil and string.find(fields.model, "^[%w%p ]+$") then
        headers:replace("x-tieline-model", fields.model)
        headers:replace("x-tieline-model-at", fields.first .. "-" .. fields.last)
      end
      if fields.stream then
        headers:replace("x-tieline-stream", "1")
      end
      if fields.output_max ~= nil then
        headers:replace("x-tieline-output-max", fields.output_max)
      end
    end
  end
  handle:clearRouteCache()
end
