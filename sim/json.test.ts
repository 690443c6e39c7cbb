import { expect, test } from 'vitest'
import { ask, askStream, lastResponse } from './listen.ts'
import type { Script } from './script.ts'
import { openSim } from './sim.ts'

async function answerOf(script: Script, fields: object = {}) {
  await using sim = await openSim()
  sim.script({}, script)
  const heard = await ask(sim, { body: { model: 'gpt-5.4', input: 'hello', ...fields } }).heard
  return { heard, body: JSON.parse(heard.text), line: sim.invoice[0]! }
}

test('a JSON answer is one response object with its length announced', async () => {
  const { heard, body } = await answerOf(
    { text: 'Hi', conversation: 'conv_1', serviceTier: 'flex' },
    { metadata: { a: 'b' }, store: false },
  )

  expect(heard.headers['content-type']).toBe('application/json')
  expect(heard.headers['content-length']).toBe(String(Buffer.byteLength(heard.text)))
  expect(body).toMatchObject({
    object: 'response',
    status: 'completed',
    model: 'gpt-5.4',
    service_tier: 'flex',
    store: false,
    metadata: { a: 'b' },
    conversation: { id: 'conv_1' },
    previous_response_id: null,
    output: [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hi' }] }],
  })
  expect(body.id).toMatch(/^resp_/)
  expect(body.output[0].id).toMatch(/^msg_/)
})

/** What is reported for "hello" in (2 tokens) and 'one two three four' out (5). */
const usages: { script: Script; usage: object | undefined }[] = [
  { script: {}, usage: usage([2, 0, 0], [5, 0], 7) },
  { script: { cachedTokens: 1, cacheWriteTokens: 1 }, usage: usage([2, 1, 1], [5, 0], 7) },
  { script: { reasoning: 10 }, usage: usage([2, 0, 0], [15, 10], 17) },
  { script: { outputTokens: 40 }, usage: usage([2, 0, 0], [40, 0], 42) },
  { script: { outputTokens: 40, reasoning: 10 }, usage: usage([2, 0, 0], [40, 10], 42) },
  { script: { usage: { input_tokens: 1000 } }, usage: usage([1000, 0, 0], [5, 0], 1005) },
  { script: { usage: { total_tokens: 1 } }, usage: usage([2, 0, 0], [5, 0], 1) },
  {
    script: { usage: { input_tokens_details: null, output_tokens_details: null } },
    usage: { input_tokens: 2, output_tokens: 5, total_tokens: 7 },
  },
  { script: { usage: null }, usage: undefined },
]

test.each(usages)('the usage of $script is reported alike in JSON and at the end of a stream', async ({ script, usage }) => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four', ...script })
  const { text: json } = await ask(sim).heard
  const { text: stream } = await askStream(sim).heard

  expect(JSON.parse(json).usage).toEqual(usage)
  expect(lastResponse(stream).usage).toEqual(usage)
  expect(sim.invoice.map(line => line.usageReported)).toEqual([usage !== undefined, usage !== undefined])
})

/** 'one two three four' has 18 bytes: 5 tokens. */
const ceilings: { script: Script; ceiling: number; status: string; outputTokens: number; text: string }[] = [
  { script: {}, ceiling: 5, status: 'completed', outputTokens: 5, text: 'one two three four' },
  { script: {}, ceiling: 4, status: 'incomplete', outputTokens: 4, text: 'one two three fo' },
  { script: {}, ceiling: 1, status: 'incomplete', outputTokens: 1, text: 'one ' },
  { script: { reasoning: 3 }, ceiling: 4, status: 'incomplete', outputTokens: 4, text: 'one ' },
  { script: { reasoning: 30 }, ceiling: 16, status: 'incomplete', outputTokens: 16, text: '' },
  { script: { outputTokens: 36 }, ceiling: 18, status: 'incomplete', outputTokens: 18, text: 'one two t' },
]

test.each(ceilings)('with max_output_tokens $ceiling, $script ends $status', async ({ script, ceiling, status, outputTokens, text }) => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four', ...script })
  const body = { model: 'gpt-5.4', input: 'hello', max_output_tokens: ceiling }
  const json = JSON.parse((await ask(sim, { body }).heard).text)
  const streamed = lastResponse((await askStream(sim, { body: { ...body, stream: true } }).heard).text)

  for (const response of [json, streamed]) {
    const message = response.output.find((item: { type: string }) => item.type === 'message')
    expect(response.status).toBe(status)
    expect(response.incomplete_details).toEqual(status === 'incomplete' ? { reason: 'max_output_tokens' } : null)
    expect(response.usage.output_tokens).toBe(outputTokens)
    expect(message?.content[0].text ?? '').toBe(text)
  }
  expect(sim.invoice.map(line => [line.ended, line.usage.outputTokens])).toEqual([
    [status, outputTokens],
    [status, outputTokens],
  ])
})

test.each(['failed', 'incomplete'] as const)('an answer can be %s as JSON', async end => {
  const { body, line } = await answerOf({ end, failure: { code: 'invalid_prompt', message: 'No.' } })

  expect(body.status).toBe(end)
  expect(body.error).toEqual(end === 'failed' ? { code: 'invalid_prompt', message: 'No.' } : null)
  expect(line).toMatchObject({ ended: end, cut: false })
})

const breaks: { script: Script; bytes: number | 'half' | 'all but one'; ending: string }[] = [
  { script: { end: 'cut' }, bytes: 'half', ending: 'broken' },
  { script: { end: 'cut', afterBytes: 0 }, bytes: 0, ending: 'broken' },
  { script: { end: 'cut', afterBytes: 100 }, bytes: 100, ending: 'broken' },
  { script: { end: 'cut', afterBytes: 1_000_000 }, bytes: 'all but one', ending: 'broken' },
  { script: { end: 'eof', afterBytes: 100 }, bytes: 100, ending: 'whole' },
]

test.each(breaks)('a JSON body of $script breaks off', async ({ script, bytes, ending }) => {
  const { text: whole } = (await answerOf({})).heard
  await using sim = await openSim()
  sim.script({}, script)
  const heard = await ask(sim).heard
  const line = sim.invoice[0]!

  expect(heard.ending).toBe(ending)
  expect(heard.text.length).toBe(bytes === 'half' ? whole.length >> 1 : bytes === 'all but one' ? whole.length - 1 : bytes)
  expect(line).toMatchObject({ ended: script.end, cut: true, answered: bytes !== 0, usageReported: false, clientLeft: false })
  expect(line.usage.inputTokens > 0).toBe(bytes !== 0)
})

test('a refusal has the error of its status, unless the script says another', async () => {
  const plain = await answerOf({ status: 503 })
  const told = await answerOf({ status: 400, error: { code: 'context_length_exceeded', message: 'Too long.', param: 'input' } })

  expect(plain.heard.status).toBe(503)
  expect(plain.body.error).toMatchObject({ type: 'service_unavailable_error', code: 'server_is_overloaded', param: null })
  expect(told.body.error).toEqual({ type: 'invalid_request_error', code: 'context_length_exceeded', message: 'Too long.', param: 'input' })
  expect(told.line).toMatchObject({ status: 400, ended: 'refused', costNanos: 0n, responseId: null, usageReported: false })
})

test('a raw body is sent as it is, with any status and headers', async () => {
  await using sim = await openSim()
  sim.script({}, [
    { status: 502, rawBody: '<html>bad gateway</html>' },
    { rawBody: '{"broken', headers: { 'content-type': 'text/event-stream', 'set-cookie': ['a=1', 'b=2'], 'openai-organization': 'org' } },
  ])
  const html = await ask(sim).heard
  const broken = await ask(sim).heard

  expect(html).toMatchObject({ status: 502, text: '<html>bad gateway</html>', headers: { 'content-type': 'text/html' } })
  expect(broken).toMatchObject({ status: 200, text: '{"broken', ending: 'whole' })
  expect(broken.headers).toMatchObject({ 'content-type': 'text/event-stream', 'set-cookie': ['a=1', 'b=2'], 'openai-organization': 'org' })
  expect(sim.invoice.map(line => line.ended)).toEqual(['refused', 'raw'])
})

test('chunkBytes cuts a JSON body too', async () => {
  const { heard, body } = await answerOf({ chunkBytes: 50 })

  expect(heard.chunks.length).toBeGreaterThan(10)
  expect(body.status).toBe('completed')
})

test.each([
  ['no JSON', '{"model":', 'We could not parse the JSON body of your request.'],
  ['no object', '[]', 'We could not parse the JSON body of your request.'],
  ['no model', '{}', "Missing required parameter: 'model'."],
])('a body with %s is refused without using up a script', async (_, body, message) => {
  await using sim = await openSim()
  sim.script({}, [{ text: 'first' }, { text: 'second' }])
  const refused = await ask(sim, { body }).heard

  expect(refused.status).toBe(400)
  expect(JSON.parse(refused.text).error.message).toBe(message)
  expect((await ask(sim).heard).text).toContain('first')
})

test('a stored response is known to its key only, and its context is input again', async () => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four' })
  const first = JSON.parse((await ask(sim).heard).text)
  const unstored = JSON.parse((await ask(sim, { body: { model: 'm', input: 'x', store: false } }).heard).text)
  const follow = (id: string, key = 'sk-1') => ask(sim, { key, body: { model: 'm', input: 'hello', previous_response_id: id } }).heard

  const known = JSON.parse((await follow(first.id)).text)
  expect(known).toMatchObject({ previous_response_id: first.id, usage: { input_tokens: 2 + first.usage.total_tokens } })
  for (const unknown of [await follow('resp_none'), await follow(unstored.id), await follow(first.id, 'sk-2')]) {
    expect(unknown.status).toBe(400)
    expect(JSON.parse(unknown.text).error).toMatchObject({ code: 'previous_response_not_found', type: 'invalid_request_error' })
  }
  expect(JSON.parse((await follow('resp_none')).text).error.message).toBe("Previous response with id 'resp_none' not found.")
})

function usage(input: [number, number, number], output: [number, number], total: number): object {
  return {
    input_tokens: input[0],
    input_tokens_details: { cached_tokens: input[1], cache_write_tokens: input[2] },
    output_tokens: output[0],
    output_tokens_details: { reasoning_tokens: output[1] },
    total_tokens: total,
  }
}

test('a body nested too deep to be read is refused, and the next is answered', async () => {
  await using sim = await openSim()
  const deep = `{"model":"m","input":${'['.repeat(50_000)}${']'.repeat(50_000)}}`
  expect(await ask(sim, { body: deep }).heard).toMatchObject({ status: 400 })
  expect(await ask(sim, { body: { model: 'm', input: 'x' } }).heard).toMatchObject({ status: 200 })
})
