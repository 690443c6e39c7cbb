import fc from 'fast-check'
import { expect, test } from 'vitest'
import { codeVerdict, deltaOf, kindOf, readAnswer, readAnswerBody, renameModel, renameModelInBody, sequenceOf } from './openai-events.ts'
import { AnswerUnreadable } from './protocol.ts'
import { dataOf } from './sse.ts'

const event = (data: object) => Buffer.from(`event: ${'type' in data ? data.type : 'x'}\ndata: ${JSON.stringify(data)}\n\n`)

test.each([
  ['response.created', 'lifecycle'],
  ['response.queued', 'lifecycle'],
  ['response.in_progress', 'lifecycle'],
  ['response.completed', 'completed'],
  ['response.incomplete', 'incomplete'],
  ['response.failed', 'failed'],
  ['error', 'error'],
  ['response.output_text.delta', 'delta'],
  ['response.web_search_call.completed', 'delta'],
  ['keepalive', 'delta'],
  ['', 'delta'],
  ['toString', 'delta'],
])('%j is of kind %s', (type, kind) => {
  expect(kindOf(type)).toBe(kind)
})

test.each([
  ['data: {"type":"x","sequence_number":41,"delta":"\\"sequence_number\\":9"}\n\n', 41],
  ['data: {"response":{"metadata":{"sequence_number":"9"},"sequence_number":8},\r\ndata: "sequence_number" : 7 }\r\n\r\n', 7],
  ['data: {"sequence_number":0}\n\n', 0],
  ['data: {"sequence_number":"3"}\n\n', undefined],
  ['data: {"sequence_number":-1}\n\n', undefined],
  ['data: {"sequence_number":1.5}\n\n', undefined],
  ['data: {"type":"x"}\n\n', undefined],
  ['data: [DONE]\n\n', undefined],
  [':\n\n', undefined],
])('the sequence number of %j is %s', (raw, sequence) => {
  expect(sequenceOf(Buffer.from(raw))).toBe(sequence)
})

const textIn = (raw: Buffer) => {
  const span = deltaOf(raw)
  return span?.bytes.toString('utf8', span.start, span.end)
}

test.each<[object, string | undefined]>([
  [{ type: 'response.output_text.delta', sequence_number: 4, delta: 'hello' }, 'hello'],
  [{ type: 'response.output_text.delta', delta: 'é日"\n\\' }, 'é日\\"\\n\\\\'],
  [{ type: 'response.output_text.delta', delta: 'ab', obfuscation: 'x\\y' }, 'ab'],
  [{ type: 'response.output_text.delta', delta: '' }, ''],
  [{ type: 'response.reasoning_text.delta', delta: 'abc' }, 'abc'],
  [{ type: 'response.reasoning_summary_text.delta', delta: 'abc' }, 'abc'],
  [{ type: 'response.function_call_arguments.delta', item: { delta: 'nested' }, delta: '{}' }, '{}'],
  [{ type: 'response.custom_tool_call_input.delta', delta: 'abc' }, 'abc'],
  [{ type: 'response.audio.delta', delta: 'AAAA' }, undefined],
  [{ type: 'response.output_text.done', text: 'hello', delta: 'hello' }, undefined],
  [{ type: 'response.output_text.delta', delta: { a: 'b' } }, undefined],
  [{ type: 'response.output_text.delta' }, undefined],
])('%j adds the text %j', (data, text) => {
  expect(textIn(event(data))).toBe(text)
})

test('a delta is found by a search as it is by reading', () => {
  const word = fc.constantFrom('delta', '"delta":"', '\\', '"', '{', '}', 'data: {', 'x', '\n', 'é')
  const text = fc.array(word, { maxLength: 4 }).map(words => words.join(''))
  const value = fc.oneof(text, fc.dictionary(fc.oneof(text, fc.constant('delta')), text, { maxKeys: 2 }))
  const data = fc.dictionary(fc.oneof(text, fc.constant('delta')), value, { maxKeys: 4, noNullPrototype: true })
  fc.assert(
    fc.property(data, members => {
      const json = JSON.stringify(members)
      const type = 'response.output_text.delta'
      // Without the blank it is not so plain, and is read.
      const [searched, read] = ['data: ', 'data:'].map(field => textIn(Buffer.from(`event: ${type}\n${field}${json}\n\n`)))
      expect(searched).toBe(read)
    }),
    { numRuns: 3_000 },
  )
})

const usage = (fields: object, more: object = {}) => readAnswerBody(JSON.stringify({ ...more, usage: fields })).usage
const none = {
  inputTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite12hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  webSearches: 0,
  fileSearches: 0,
}

test.each<[string, object, object]>([
  [
    'all details',
    {
      input_tokens: 18_014,
      input_tokens_details: {
        cached_tokens: 3,
        cache_write_tokens: 18_000,
        cache_write_tokens_details: { ttl_30m_tokens: 10_000, ttl_12h_tokens: 8_000 },
      },
      output_tokens: 50,
      output_tokens_details: { reasoning_tokens: 20 },
      total_tokens: 18_064,
    },
    { inputTokens: 18_014, cachedTokens: 3, cacheWriteTokens: 18_000, cacheWrite12hTokens: 8_000, outputTokens: 50, reasoningTokens: 20 },
  ],
  ['no details', { input_tokens: 5, output_tokens: 6 }, { inputTokens: 5, outputTokens: 6 }],
  [
    'details that are null',
    { input_tokens: 5, input_tokens_details: null, output_tokens: 6, output_tokens_details: null },
    { inputTokens: 5, outputTokens: 6 },
  ],
  [
    'details that are no numbers of tokens',
    { input_tokens: 5, output_tokens: 0, input_tokens_details: { cached_tokens: -3, cache_write_tokens: '2' }, output_tokens_details: 7 },
    { inputTokens: 5 },
  ],
  [
    'more cached than read',
    { input_tokens: 10, input_tokens_details: { cached_tokens: 12, cache_write_tokens: 1 } },
    { inputTokens: 10, cachedTokens: 10 },
  ],
  [
    'more written than is left',
    { input_tokens: 10, input_tokens_details: { cached_tokens: 4, cache_write_tokens: 9 } },
    { inputTokens: 10, cachedTokens: 4, cacheWriteTokens: 6 },
  ],
  [
    'more kept long than written',
    { input_tokens: 10, input_tokens_details: { cache_write_tokens: 4, cache_write_tokens_details: { ttl_12h_tokens: 5 } } },
    { inputTokens: 10, cacheWriteTokens: 4, cacheWrite12hTokens: 4 },
  ],
  [
    'more reasoning than output',
    { output_tokens: 3, output_tokens_details: { reasoning_tokens: 4 } },
    { outputTokens: 3, reasoningTokens: 3 },
  ],
])('usage with %s', (_, fields, expected) => {
  expect(usage(fields)).toEqual({ ...none, ...expected })
})

test.each([
  ...[undefined, null, 7, [], 'x', {}, { input_tokens: null }, { total_tokens: 9 }],
  ...[{ input_tokens: '5', output_tokens: 1 }, { input_tokens: 5, output_tokens: 1.5 }, { input_tokens: -5 }, { output_tokens: 1e300 }],
])('usage %j is no usage', value => {
  expect(readAnswerBody(JSON.stringify({ usage: value })).usage).toBeNull()
})

const search = (type: string) => ({ type: 'web_search_call', action: { type } })

test.each<[string, object, object]>([
  [
    'searches among the items',
    { output: [search('search'), search('open_page'), search('search'), { type: 'web_search_call' }, null] },
    { webSearches: 2 },
  ],
  ["the upstream's own number", { output: [search('search')], tool_usage: { web_search: { num_requests: 3 } } }, { webSearches: 3 }],
  ['a number of zero', { output: [search('search')], tool_usage: { web_search: { num_requests: 0 } } }, { webSearches: 0 }],
  ['tool usage without searches', { output: [search('search')], tool_usage: { image_gen: {} } }, { webSearches: 1 }],
  ['searches in files', { output: [{ type: 'file_search_call' }, { type: 'file_search_call' }, { type: 'message' }] }, { fileSearches: 2 }],
])('tools are counted by %s', (_, response, expected) => {
  expect(usage({ output_tokens: 0 }, response)).toEqual({ ...none, ...expected })
})

const response = {
  id: 'resp_1',
  status: 'completed',
  model: 'gpt-5.5-2026-04-23',
  service_tier: 'flex',
  conversation: { id: 'conv_1' },
  error: null,
  output: [{ id: 'rs_1', type: 'reasoning' }, { type: 'message' }, { id: 'msg_1' }],
  usage: { input_tokens: 1, output_tokens: 2 },
}

test('a terminal event and a JSON body say the same of the same response', () => {
  const facts = {
    status: 'completed',
    responseId: 'resp_1',
    model: 'gpt-5.5-2026-04-23',
    serviceTier: 'flex',
    usage: { ...none, inputTokens: 1, outputTokens: 2 },
    itemIds: ['rs_1', 'msg_1'],
    containerIds: [],
    conversationId: 'conv_1',
    error: null,
  }
  expect(readAnswer(JSON.stringify({ type: 'response.completed', response }))).toEqual(facts)
  expect(readAnswerBody(Buffer.from(JSON.stringify(response)))).toEqual(facts)
})

test.each<[string, object, object]>([
  [
    'a failed response',
    { type: 'response.failed', response: { error: { code: 'server_error', message: 'm' } } },
    { code: 'server_error', type: null, message: 'm', param: null },
  ],
  [
    'a flat error event',
    { type: 'error', code: 'slow_down', message: 'm', param: 'p' },
    { code: 'slow_down', type: null, message: 'm', param: 'p' },
  ],
  [
    'a nested error event',
    { type: 'error', error: { type: 'server_error', message: 'm' } },
    { code: null, type: 'server_error', message: 'm', param: null },
  ],
  [
    'an error of both forms',
    { type: 'error', code: 'c', message: 'm', param: null, error: { type: 't', message: 'm' } },
    { code: 'c', type: 't', message: 'm', param: null },
  ],
  ['an error with a number for a code', { error: { code: 429, message: 'm' } }, { code: '429', type: null, message: 'm', param: null }],
])('the error of %s is read', (_, data, error) => {
  expect(readAnswer(JSON.stringify(data)).error).toEqual(error)
})

test.each(['', '{', '[DONE]', 'null', '[]', '{"type":"response.completed"}', '{"type":"response.completed","response":null}'])(
  'a terminal event of %j is unreadable',
  data => {
    expect(() => readAnswer(data)).toThrow(AnswerUnreadable)
  },
)

test.each(['', '<html>', 'null', '[]', '"x"'])('a body of %j is unreadable', body => {
  expect(() => readAnswerBody(body)).toThrow(AnswerUnreadable)
})

test.each<[string | null, string | null, string]>([
  ['server_error', null, 'server'],
  ['rate_limit_exceeded', null, 'limited'],
  ['slow_down', null, 'limited'],
  ['insufficient_quota', null, 'quota'],
  ['credit_balance_exhausted', null, 'quota'],
  ['organization_spend_limit_exceeded', null, 'quota'],
  ['project_spend_limit_exceeded', null, 'quota'],
  ['organization_usage_limit_exceeded', null, 'quota'],
  ['server_is_overloaded', null, 'overloaded'],
  ['invalid_api_key', null, 'auth'],
  ['429', null, 'limited'],
  ['503', null, 'overloaded'],
  ['invalid_prompt', null, 'client'],
  ['context_length_exceeded', null, 'client'],
  ['cyber_policy', 'server_error', 'client'],
  ['image_too_large', null, 'client'],
  ['something_new', null, 'client'],
  ['something_new', 'server_error', 'server'],
  [null, 'server_error', 'server'],
  [null, 'service_unavailable_error', 'overloaded'],
  [null, 'invalid_request_error', 'client'],
  [null, null, 'client'],
  ['constructor', null, 'client'],
])('code %j of type %j is %s', (code, type, verdict) => {
  expect(codeVerdict(code, type)).toBe(verdict)
})

test.each<[string, string]>([
  [
    'event: response.created\ndata: {"type":"response.created","response":{"id":"m","model":"old","x":{"model":"old"}},"model":"old"}\n\n',
    '"id":"m","model":"new","x":{"model":"old"}},"model":"old"}\n\n',
  ],
  ['data: {"response" : { "metadata":{"model":"old"},"mod\\u0065l" : "old" }}\r\n\r\n', '{"model":"old"},"mod\\u0065l" : "new" }}\r\n\r\n'],
  ['data: {"response":{"instructions":"\\"model\\":\\"old\\"","model":"old"}}\n\n', '"\\"model\\":\\"old\\"","model":"new"}}\n\n'],
  ['data: {"response":{"n":12345678901234567890,\ndata: "model":\ndata: "old"}}\n\n', '890,\ndata: "model":\ndata: "new"}}\n\n'],
  ['data: {"response":{"model":null}}\n\n', '{"response":{"model":"new"}}\n\n'],
])('in %j only the model of the response is renamed', (raw, end) => {
  const renamed = renameModel(Buffer.from(raw), 'new').toString()
  expect(renamed.endsWith(end)).toBe(true)
  expect(renamed.length - raw.length).toBe(raw.includes('null') ? 1 : 0)
})

test.each([
  'data: {"model":"old"}\n\n',
  'data: {"response":null}\n\n',
  'data: {"response":{"id":"x"}}\n\n',
  'data: [DONE]\n\n',
  ':\n\n',
  'data: {"response":{"model":"old"\n\n',
])('%j has no model to rename and stays the same bytes', text => {
  const raw = Buffer.from(text)
  expect(renameModel(raw, 'new')).toBe(raw)
})

test('a model is renamed only from the name that is given, if one is', () => {
  const raw = event({ type: 'response.completed', response: { model: 'gpt-5.5' } })
  expect(renameModel(raw, 'new', 'gpt-5.4')).toBe(raw)
  expect(JSON.parse(dataOf(renameModel(raw, 'new', 'gpt-5.5'))).response.model).toBe('new')
  const body = Buffer.from('{"model":"gpt-5\\u002e5","n":1.0}')
  expect(renameModelInBody(body, 'new', 'gpt-5.4')).toBe(body)
  expect(renameModelInBody(body, 'n"w', 'gpt-5.5').toString()).toBe('{"model":"n\\"w","n":1.0}')
})

test('renaming changes the model and nothing else, whatever the response holds', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.string({ unit: 'binary' }), (rest, old, name) => {
      const raw = event({ type: 'response.completed', response: { ...rest, model: old } })
      const told = JSON.parse(dataOf(raw))
      expect(JSON.parse(dataOf(renameModel(raw, name)))).toEqual({ ...told, response: { ...told.response, model: name } })
      expect(renameModel(renameModel(raw, name), old).equals(raw)).toBe(true)
    }),
    { numRuns: 300 },
  )
})
