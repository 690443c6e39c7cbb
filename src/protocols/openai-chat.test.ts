import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chat } from './openai-chat.ts'
import { AnswerUnreadable, type CallFacts } from './protocol.ts'
import { dataOf } from './sse.ts'

function factsOf(body: string | object): CallFacts {
  const reading = chat.readCall(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  if ('fault' in reading) throw new Error(reading.fault)
  return reading.facts
}

const ask = (more: object = {}) => ({ model: 'gpt-5.5', messages: [{ role: 'user', content: 'Whose turn is it?' }], ...more })

function rewritten(body: string, wanted: Parameters<typeof chat.rewrite>[2] = {}): string {
  return Buffer.concat(chat.rewrite(Buffer.from(body), factsOf(body), wanted)).toString()
}

const chunk = (data: object | string) => Buffer.from(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
const said = (more: object = {}) => ({ id: 'c', object: 'chat.completion.chunk', model: 'upstream', choices: [], ...more })
const done = chunk('[DONE]')
const usage = { prompt_tokens: 10, completion_tokens: 4, total_tokens: 14, prompt_tokens_details: { cached_tokens: 3 } }

describe('a call', () => {
  test.each<[object, Partial<CallFacts>]>([
    [{}, { model: 'gpt-5.5', stream: false, maxOutputTokens: undefined, answers: 1, showsUsage: false, store: false, background: false }],
    [
      { stream: true, stream_options: { include_usage: true } },
      { stream: true, showsUsage: true },
    ],
    [{ stream_options: null }, { showsUsage: false }],
    [{ max_tokens: 5 }, { maxOutputTokens: 5 }],
    [{ max_tokens: 5, max_completion_tokens: 7 }, { maxOutputTokens: 7 }],
    [{ max_tokens: 7, max_completion_tokens: 5 }, { maxOutputTokens: 7 }], // Which one counts is the server's choice.
    [{ max_tokens: -1, max_completion_tokens: 5 }, { maxOutputTokens: undefined }], // To some servers -1 is no ceiling at all.
    [{ max_tokens: 5, max_completion_tokens: '700' }, { maxOutputTokens: undefined }],
    [{ max_tokens: 5, max_completion_tokens: null }, { maxOutputTokens: 5 }],
    [{ n: 3 }, { answers: 3 }],
    [{ n: '50' }, { answers: 50 }], // Some servers take it.
    [{ n: null }, { answers: 1 }],
    [{ n: 0 }, { answers: 1 }],
    [
      { service_tier: 'flex', prompt_cache_key: 'k' },
      { serviceTier: 'flex', promptCacheKey: 'k' },
    ],
    [{ web_search_options: {} }, { hasHostedTools: true }],
    [{ safety_identifier: ' ' }, { hasSafetyIdentifier: false }],
    [{ messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] }] }, { fileIds: ['file-1'] }],
    [
      { previous_response_id: 'resp_1', instructions: 'x', input: [{ type: 'item_reference', id: 'a' }] },
      { previousResponseId: undefined, itemReferences: [] },
    ],
  ])('that says %j', (more, facts) => {
    expect(factsOf(ask(more))).toMatchObject(facts)
  })

  test('that names a field twice cannot be read', () => {
    expect(chat.readCall(Buffer.from('{"model":"a","n":1,"n":2}'))).toEqual({ fault: 'body_unparsable' })
  })

  test('with a picture is not held for the text of its bytes', () => {
    const url = `data:image/png;base64,${'A'.repeat(400_000)}`
    const seen = factsOf(ask({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url, detail: 'low' } }] }] }))
    expect(seen.inputTokensEstimate).toBeLessThan(20_000)
  })
})

describe('what is sent on', () => {
  test.each([
    ['{"model":"a","stream":true}', '{"stream_options":{"include_usage":true},"model":"a","stream":true}'],
    ['{"model":"a","stream":true,"stream_options":null}', '{"model":"a","stream":true,"stream_options":{"include_usage":true}}'],
    ['{"model":"a","stream":true,"stream_options":{}}', '{"model":"a","stream":true,"stream_options":{"include_usage":true}}'],
    [
      '{"model":"a","stream":true,"stream_options":{ "x": 12345678901234567890 }}',
      '{"model":"a","stream":true,"stream_options":{"include_usage":true, "x": 12345678901234567890 }}',
    ],
    [
      '{"model":"a","stream":true,"stream_options":{"x":1,"include_usage" : false}}',
      '{"model":"a","stream":true,"stream_options":{"x":1,"include_usage" : true}}',
    ],
    [
      '{"model":"a","stream":true,"stream_options":{"include_usage":true}}',
      '{"model":"a","stream":true,"stream_options":{"include_usage":true}}',
    ],
    ['{"model":"a","stream":false}', '{"model":"a","stream":false}'],
  ])('%s asks for its usage if it is a stream', (body, sent) => {
    expect(rewritten(body)).toBe(sent)
  })

  test.each([
    ['{"model":"a"}', '{"max_completion_tokens":9,"model":"a"}'],
    ['{"model":"a","max_tokens":50}', '{"model":"a","max_tokens":9}'],
    ['{"model":"a","max_completion_tokens":50}', '{"model":"a","max_completion_tokens":9}'],
    ['{"model":"a","max_completion_tokens":50,"max_tokens":60}', '{"model":"a","max_completion_tokens":9,"max_tokens":9}'],
  ])('%s has its ceiling lowered where the client says it', (body, sent) => {
    expect(rewritten(body, { outputCeiling: 9 })).toBe(sent)
  })

  test('the upstream’s name and a safety identifier are put in, instructions never', () => {
    expect(rewritten('{"model":"a","x":1}', { model: 'b', safetyIdentifier: 's', instructions: 'i' })).toBe(
      '{"safety_identifier":"s","model":"b","x":1}',
    )
  })
})

describe('a stream', () => {
  const open = (more: object = {}, renameTo?: string) => chat.openAnswer({ facts: factsOf(ask({ stream: true, ...more })), renameTo })

  test('ends with its marker, which knows what was told before it', () => {
    const answer = open()
    answer.read(chunk(said({ choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: null }], service_tier: 'flex' })), '')
    answer.read(chunk(said({ choices: [{ index: 0, delta: {}, finish_reason: 'length' }] })), '')
    answer.read(chunk(said({ usage })), '')
    expect(answer.read(done, '')).toEqual({
      kind: 'ends',
      bytes: done,
      facts: {
        ...{
          status: 'incomplete',
          model: 'upstream',
          serviceTier: 'flex',
          responseId: null,
          itemIds: [],
          containerIds: [],
          conversationId: null,
          error: null,
        },
        usage: {
          ...{ inputTokens: 10, cachedTokens: 3, cacheWriteTokens: 0, cacheWrite12hTokens: 0 },
          ...{ outputTokens: 4, reasoningTokens: 0, webSearches: 0, fileSearches: 0 },
        },
      },
    })
  })

  test.each<[string, object, string | undefined]>([
    ['its chunk of usage is not seen', said({ usage }), undefined],
    ['nor is a usage that is null', said({ choices: [{ index: 0 }], usage: null }), JSON.stringify(said({ choices: [{ index: 0 }] }))],
    ['first or last', { usage: null, choices: [{ index: 0 }] }, '{"choices":[{"index":0}]}'],
    ['nor a usage in every chunk', { a: 1, usage, choices: [{ index: 0 }] }, '{"a":1,"choices":[{"index":0}]}'],
    [
      'a chunk without any passes as it came',
      said({ choices: [{ index: 0, delta: { content: 'usage' } }] }),
      JSON.stringify(said({ choices: [{ index: 0, delta: { content: 'usage' } }] })),
    ],
  ])('whose client did not ask for usage: %s', (_, data, seen) => {
    const read = open().read(chunk(data), '')
    expect(read.bytes && dataOf(read.bytes)).toBe(seen)
  })

  test('whose client asked for usage passes byte for byte', () => {
    const answer = open({ stream_options: { include_usage: true } })
    for (const data of [said({ usage: null }), said({ usage })]) expect(answer.read(chunk(data), '').bytes).toEqual(chunk(data))
  })

  test('under an alias tells the client’s name in every chunk', () => {
    const answer = open({}, 'mine')
    const { bytes } = answer.read(chunk('{"model" : "upstream", "choices":[{"delta":{"content":"model"}}], "usage":null }'), '')
    expect(dataOf(bytes!)).toBe('{"model" : "mine", "choices":[{"delta":{"content":"model"}}] }')
  })

  test('keeps text, refusals, reasoning and arguments for an estimate, each choice by itself', () => {
    const delta = { content: 'é', refusal: 'no', reasoning_content: 'hm', tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] }
    const answer = open()
    answer.read(chunk(said({ choices: [{ index: 0, delta }] })), '')
    for (const index of [1, 1, 0]) answer.read(chunk(said({ choices: [{ index, delta: { content: `"${index}"` } }] })), '')
    expect(answer.written()).toEqual({ texts: ['énohm{"a":1}', '"1""1"', '"0"'], share: 1 })
    expect(answer.told.usage).toBeNull()
  })

  test('an error in it is one, with or without an event’s name', () => {
    const error = { message: 'No.', type: 'server_error', param: null, code: 'server_error' }
    const read = open().read(chunk({ error }), '')
    expect(read).toEqual({ kind: 'fails', bytes: chunk({ error }), error })
    expect(chat.errorIn(chunk({ error }), '')).toEqual(error)
    expect(chat.errorIn(chunk(said()), '')).toBeUndefined()
    expect(chat.errorIn(done, '')).toBeUndefined()
  })

  test('that must be ended by us ends with an error, and never with the marker', () => {
    const [last, ...others] = open().failure({ code: 'server_error', message: 'It broke.' }, { id: '', model: '', createdAtMs: 0 })
    expect(JSON.parse(dataOf(last!))).toEqual({ error: { message: 'It broke.', type: 'server_error', param: null, code: 'server_error' } })
    expect(others).toEqual([])
  })

  test('that told an error is ended by it: the marker behind it is not passed on, and no second error follows', () => {
    const answer = open()
    answer.read(chunk({ error: { message: 'No.', code: 'server_error' } }), '')
    expect(answer.read(done, '')).toEqual({ kind: 'passes', bytes: undefined })
    expect(answer.failure({ code: 'server_error', message: 'It broke.' }, { id: '', model: '', createdAtMs: 0 })).toEqual([])
  })

  test('tells its model, tier and usage before its end', () => {
    const answer = open()
    expect(answer.told).toEqual({ model: null, serviceTier: null, usage: null })
    answer.read(chunk({ model: 'm-2026', service_tier: 'flex', choices: [], usage }), '')
    expect(answer.told).toMatchObject({ model: 'm-2026', serviceTier: 'flex', usage: { inputTokens: 10, outputTokens: 4 } })
  })

  test('whatever a chunk holds, what passes is the same JSON without usage and under the name asked for', () => {
    const data = fc.dictionary(fc.constantFrom('id', 'usage', 'choices', 'model', 'x', 'us\u0061ge2'), fc.jsonValue(), {
      noNullPrototype: true,
    })
    fc.assert(
      fc.property(data, fc.constantFrom(0, 1), (said, indent) => {
        const value = JSON.parse(JSON.stringify(said)) // No −0.
        const raw = Buffer.from(`data: ${JSON.stringify(value, null, indent).replaceAll('\n', ' ')}\n\n`)
        const read = open({}, 'mine').read(raw, '')
        const { usage: told, ...rest } = value as Record<string, unknown>
        const hidden = !(Array.isArray(rest.choices) && rest.choices.some(isObject)) && isObject(told)
        expect(read.bytes && JSON.parse(dataOf(read.bytes))).toEqual(
          hidden ? undefined : { ...rest, ...('model' in rest && { model: 'mine' }) },
        )
      }),
    )
  })
})

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)

describe('a whole answer', () => {
  const message = {
    role: 'assistant',
    content: 'Hello',
    tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }],
  }
  const body = Buffer.from(
    JSON.stringify({
      id: 'c',
      object: 'chat.completion',
      model: 'm',
      choices: [{ index: 0, message, finish_reason: 'tool_calls' }],
      usage,
    }),
  )

  test('says what it used and how it ended', () => {
    expect(chat.readBody(body)).toMatchObject({
      status: 'completed',
      model: 'm',
      usage: { inputTokens: 10, cachedTokens: 3, outputTokens: 4 },
      error: null,
    })
    expect(chat.readBody(Buffer.from('{"choices":[{"finish_reason":"length"}]}'))).toMatchObject({ status: 'incomplete', usage: null })
    expect(chat.readBody(Buffer.from('{"choices":[],"usage":{"prompt_tokens":"7","completion_tokens":3}}')).usage).toBeNull()
    expect(() => chat.readBody(Buffer.from('[]'))).toThrow(AnswerUnreadable)
    expect(chat.textsOfBody(body)).toEqual(['Hello', '{}'])
  })

  test('becomes a stream for whoever has begun to hear one', () => {
    const [first, last] = chat.wholeEvents(body)
    expect(JSON.parse(dataOf(first!))).toEqual({
      ...{ id: 'c', object: 'chat.completion.chunk', model: 'm' },
      choices: [{ index: 0, delta: { ...message, tool_calls: [{ index: 0, ...message.tool_calls[0] }] }, finish_reason: 'tool_calls' }],
    })
    expect(last).toEqual(done)
  })
})
