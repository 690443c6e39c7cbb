import { expect, test } from 'vitest'
import { fieldNames, readFacts, responses } from './openai-responses.ts'
import { dataOf } from './sse.ts'

function read(body: string | object) {
  return readFacts(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
}

function factsOf(body: string | object) {
  const reading = read(body)
  if (!('facts' in reading)) throw new Error(reading.fault)
  return reading.facts
}

test.each([
  ['', 'body_empty'],
  [' \r\n\t', 'body_empty'],
  ['null', 'body_unparsable'],
  ['[{"model":"a"}]', 'body_unparsable'],
  ['"model"', 'body_unparsable'],
  ['7', 'body_unparsable'],
  ['{"model":"a"', 'body_unparsable'],
  ['{"model":"a"}}', 'body_unparsable'],
  ['{"model":"a",}', 'body_unparsable'],
  ["{'model':'a'}", 'body_unparsable'],
  ['{"model":"a","x":01}', 'body_unparsable'],
  ['{"model":"a","x":NaN}', 'body_unparsable'],
  ['{"model":"a","x":"\n"}', 'body_unparsable'],
  ['\ufeff{"model":"a"}', 'body_unparsable'],
  ['{"model":"a","model":"a"}', 'body_unparsable'],
  ['{"model":"a","mod\\u0065l":"b"}', 'body_unparsable'],
  ['{"model":"a","\\u0073tream":true,"stream":true}', 'body_unparsable'],
  ['{}', 'model_missing'],
  ['{"Model":"a"}', 'model_missing'],
  ['{"model":null}', 'model_missing'],
  ['{"model":""}', 'model_missing'],
  ['{"model":["a"]}', 'model_missing'],
  ['{"x":{"model":"a"}}', 'model_missing'],
  ['{"__proto__":{"model":"a"}}', 'model_missing'],
])('%j is %s', (body, fault) => {
  expect(read(body)).toEqual({ fault })
})

test.each(fieldNames)('%s standing twice is unparsable', name => {
  expect(read(`{"model":"a",${name === 'model' ? '' : `"${name}":null,`}"${name}":null}`)).toEqual({ fault: 'body_unparsable' })
})

test('other fields may stand twice, and fields of ours may stand again further in', () => {
  expect(factsOf('{"model":"a","x":1,"x":2,"metadata":{"model":"b"},"input":[{"model":"c"},{"model":"d"}]}').model).toBe('a')
})

test('bytes that are not UTF-8 are unparsable, wherever they stand', () => {
  const body = Buffer.from('{"model":"a","x":"?"}')
  body[body.indexOf('?')] = 0xff
  expect(readFacts(body)).toEqual({ fault: 'body_unparsable' })
})

test('a million nested arrays are unparsable, and nothing breaks', () => {
  const depth = 1_000_000
  expect(read(`{"model":"a","input":${'['.repeat(depth)}${']'.repeat(depth)}}`)).toEqual({ fault: 'body_unparsable' })
  expect(read(`{"model":"a","input":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`)).toEqual({ fault: 'body_unparsable' })
  expect(read('['.repeat(depth))).toEqual({ fault: 'body_unparsable' })
})

test('deep nesting within the bound is read to its end', () => {
  const depth = 9_000
  const nested = `${'[{"a":'.repeat(depth / 2)}{"type":"input_file","file_id":"file-1"}${'}]'.repeat(depth / 2)}`
  expect(factsOf(`{"model":"a","input":${nested}}`).fileIds).toEqual(['file-1'])
})

test('a bare call has the facts of what is not said', () => {
  expect(factsOf('{"model":"gpt-5.5"}')).toEqual({
    model: 'gpt-5.5',
    stream: false,
    answers: 1,
    showsUsage: true,
    fields: { model: { valueStart: 9, valueEnd: 18 } },
    insertAt: 1,
    isEmptyObject: false,
    maxOutputTokens: undefined,
    serviceTier: undefined,
    background: false,
    store: true,
    hasInstructions: false,
    hasSafetyIdentifier: false,
    hasHostedTools: false,
    isCompaction: false,
    hasEncryptedContent: false,
    cachesFor12h: false,
    promptCacheKey: undefined,
    previousResponseId: undefined,
    conversationId: undefined,
    itemReferences: [],
    fileIds: [],
    toolOutputFault: undefined,
    inputTokensEstimate: 10,
    mediaTokens: 0,
  })
})

test.each<[object, object]>([
  [{ stream: true }, { stream: true }],
  [{ stream: 'true' }, { stream: false }],
  [{ stream: 1 }, { stream: false }],
  [{ max_output_tokens: 16 }, { maxOutputTokens: 16 }],
  [{ max_output_tokens: 1e30 }, { maxOutputTokens: Number.MAX_SAFE_INTEGER }],
  [{ max_output_tokens: 0 }, { maxOutputTokens: undefined }],
  [{ max_output_tokens: -5 }, { maxOutputTokens: undefined }],
  [{ max_output_tokens: 1.5 }, { maxOutputTokens: undefined }],
  [{ max_output_tokens: '16' }, { maxOutputTokens: undefined }],
  [{ max_output_tokens: null }, { maxOutputTokens: undefined }],
  [{ prompt_cache_options: { mode: 'explicit', ttl: '12h' } }, { cachesFor12h: true }],
  [{ prompt_cache_options: { ttl: '30m' } }, { cachesFor12h: false }],
  [{ prompt_cache_options: '12h' }, { cachesFor12h: false }],
  [{ service_tier: 'flex' }, { serviceTier: 'flex' }],
  [{ service_tier: 5 }, { serviceTier: undefined }],
  [{ background: true }, { background: true }],
  [{ background: 'true' }, { background: false }],
  [{ store: false }, { store: false }],
  [{ store: null }, { store: true }],
  [{ instructions: 'x' }, { hasInstructions: true }],
  [{ instructions: ' \n' }, { hasInstructions: false }],
  [{ instructions: ['x'] }, { hasInstructions: false }],
  [{ safety_identifier: 'u' }, { hasSafetyIdentifier: true }],
  [{ safety_identifier: 7 }, { hasSafetyIdentifier: true }],
  [{ safety_identifier: ' ' }, { hasSafetyIdentifier: false }],
  [{ safety_identifier: null }, { hasSafetyIdentifier: false }],
  [{ prompt_cache_key: 'k' }, { promptCacheKey: 'k' }],
  [{ prompt_cache_key: '  ' }, { promptCacheKey: undefined }],
  [{ previous_response_id: ' resp_1' }, { previousResponseId: ' resp_1' }],
  [{ previous_response_id: '' }, { previousResponseId: undefined }],
  [{ conversation: 'conv_1' }, { conversationId: 'conv_1' }],
  [{ conversation: { id: 'conv_2' } }, { conversationId: 'conv_2' }],
  [{ conversation: { id: 3 } }, { conversationId: undefined }],
  [{ conversation: null }, { conversationId: undefined }],
])('%j is read as %j', (fields, facts) => {
  expect(factsOf({ model: 'a', ...fields })).toMatchObject(facts)
})

test.each([
  [[{ type: 'function', name: 'web_search' }], false],
  [[{ type: 'custom' }, { type: 'local_shell' }, { type: 'apply_patch' }, { type: 'tool_search' }, { type: 'computer' }], false],
  [[{ type: 'function' }, { type: 'web_search' }], true],
  [[{ type: 'web_search_preview_2025_03_11' }], true],
  [[{ type: 'file_search' }], true],
  [[{ type: 'code_interpreter' }], true],
  [[{ type: 'image_generation' }], true],
  [[{ type: 'mcp' }], true],
  [[{ type: 'shell' }], true],
  [[{ type: 'shell', environment: { type: 'container_auto' } }], true],
  [[{ type: 'shell', environment: { type: 'local' } }], false],
  [[null, 'web_search', [{ type: 'web_search' }]], false],
  [{ type: 'web_search' }, false],
])('tools %j are hosted: %s', (tools, hosted) => {
  expect(factsOf({ model: 'a', tools }).hasHostedTools).toBe(hosted)
})

const output = (call_id?: unknown) => ({ type: 'function_call_output', call_id, output: 'x' })
const reference = (id: unknown) => ({ type: 'item_reference', id })

test.each<[string, object, string | undefined]>([
  ['no output', { input: [{ type: 'message' }] }, undefined],
  ['an input that is no array', { input: output('c') }, undefined],
  ['an output alone', { input: [output('c')] }, 'output_without_reference'],
  ['an output without call_id', { input: [output()] }, 'output_without_call_id'],
  ['a blank call_id', { input: [output(' \t')] }, 'output_without_call_id'],
  ['a call_id that is a number', { input: [output(5)] }, 'output_without_call_id'],
  ['one of two call_ids missing, the other referred to', { input: [output('c'), output(), reference('c')] }, 'output_without_call_id'],
  ['a previous response', { previous_response_id: 'r', input: [output()] }, undefined],
  ['a blank previous response', { previous_response_id: ' ', input: [output('c')] }, 'output_without_reference'],
  ['a previous response that is a number', { previous_response_id: 4, input: [output()] }, 'output_without_call_id'],
  ['a function call with another call_id', { input: [{ type: 'function_call', call_id: 'other' }, output()] }, undefined],
  ['a tool call after the output', { input: [output('c'), { type: 'tool_call', call_id: 'c' }] }, undefined],
  ['a function call with a blank call_id', { input: [{ type: 'function_call', call_id: ' ' }, output('c')] }, 'output_without_reference'],
  ['a custom tool call', { input: [{ type: 'custom_tool_call', call_id: 'c' }, output('c')] }, 'output_without_reference'],
  ['a reference to it', { input: [reference('c'), output('c')] }, undefined],
  ['a reference to it with blanks around', { input: [output('c'), reference('\n c ')] }, undefined],
  ['blanks around the call_id and the reference', { input: [output(' c '), reference(' c ')] }, 'output_without_reference'],
  ['references to two of two', { input: [reference('c'), reference('d'), output('c'), output('d')] }, undefined],
  ['a reference to one of two', { input: [reference('c'), output('c'), output('d')] }, 'output_without_reference'],
  ['an id that is no reference', { input: [{ type: 'message', id: 'c' }, output('c')] }, 'output_without_reference'],
  [
    'another type of output',
    { input: [{ type: 'custom_tool_call_output' }, { type: 'Function_call_output' }, { type: 'function_call_output ' }] },
    undefined,
  ],
  ['an output further in', { input: [{ type: 'message', content: [output()] }] }, undefined],
  [
    'a call further in',
    { input: [{ type: 'message', content: [{ type: 'function_call', call_id: 'c' }] }, output('c')] },
    'output_without_reference',
  ],
  ['a conversation', { conversation: 'conv', input: [output('c')] }, 'output_without_reference'],
])('tool outputs: %s', (_, body, fault) => {
  expect(factsOf({ model: 'a', ...body }).toolOutputFault).toBe(fault)
})

test('references are items of that type, or with nothing but an id; their ids are trimmed and told once', () => {
  const input = [
    reference(' msg_1 '),
    reference('msg_1'),
    reference(''),
    reference(3),
    { id: 'rs_2' },
    { id: 'rs_3', type: null },
    { id: 'msg_4', role: 'user', content: 'sent whole' },
    { id: 'msg_5', type: 'message' },
    { type: 'message', content: [reference('msg_6')] },
  ]
  expect(factsOf({ model: 'a', input }).itemReferences).toEqual(['msg_1', 'rs_2', 'rs_3'])
})

test('files are found anywhere in the input and in hosted tools, but not where they are only spoken of', () => {
  const facts = factsOf({
    model: 'a',
    file_id: 'file-no',
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_file', file_id: 'file-1' },
          { type: 'input_image', file_id: 'file-2' },
        ],
      },
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_file', file_id: 'file-3' }] },
      { type: 'function_call', call_id: 'c', arguments: '{"file_id":"file-no"}' },
      { type: 'message', content: [{ type: 'output_text', text: 'x', annotations: [{ type: 'file_citation', file_id: 'file-no' }] }] },
      { type: 'file_search_call', results: [{ file_id: 'file-no' }] },
      { type: 'input_image', file_id: ' ' },
      { type: 'input_file', file_id: 'file-1' },
    ],
    tools: [
      { type: 'code_interpreter', container: { type: 'auto', file_ids: ['file-4', 5] } },
      { type: 'image_generation', input_image_mask: { file_id: 'file-5' } },
      { type: 'function', parameters: { examples: [{ file_id: 'file-no' }] } },
    ],
  })
  expect(facts.fileIds.toSorted()).toEqual(['file-1', 'file-2', 'file-3', 'file-4', 'file-5'])
})

test.for([10, 5_000])('an end that is made up goes on counting after an event with %i bytes of text', bytes => {
  const answer = responses.openAnswer({ facts: factsOf({ model: 'm' }), renameTo: undefined })
  const type = 'response.output_text.delta'
  answer.read(Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: 41, delta: 'x'.repeat(bytes) })}\n\n`), type)
  const [failed] = answer.failure({ code: 'server_error', message: 'It broke.' }, { id: 'resp_1', model: 'm', createdAtMs: 0 })
  expect(JSON.parse(dataOf(failed!))).toMatchObject({ type: 'response.failed', sequence_number: 42 })
})
