import { expect, test } from 'vitest'
import { embeddings } from './openai-embeddings.ts'

const read = (body: object) => embeddings.readCall(Buffer.from(JSON.stringify(body)))

test('a call has no output to be held for, and is never a stream', () => {
  expect(read({ model: 'e', input: ['one', 'two'], stream: true, max_output_tokens: 9 })).toMatchObject({
    facts: { model: 'e', stream: false, maxOutputTokens: 0, hasInstructions: true, hasSafetyIdentifier: true },
  })
  expect(read({ input: 'x' })).toEqual({ fault: 'model_missing' })
})

test('tokens that are sent as numbers are held for, each of them', () => {
  const tokens = Array.from({ length: 5_000 }, (_, n) => n % 10)
  expect(read({ model: 'e', input: tokens })).toMatchObject({ facts: { inputTokensEstimate: expect.toSatisfy(tokens => tokens >= 5_000) } })
})

test('only the name of the model is ever changed', () => {
  const body = Buffer.from('{"model":"e","input":[1,  2]}')
  const reading = embeddings.readCall(body)
  if ('fault' in reading) throw new Error(reading.fault)
  const wanted = { model: 'upstream', instructions: 'x', outputCeiling: 5, safetyIdentifier: 's' }
  expect(Buffer.concat(embeddings.rewrite(body, reading.facts, wanted)).toString()).toBe('{"model":"upstream","input":[1,  2]}')
})

test('the answer says what it used, under the client’s name', () => {
  const body = Buffer.from(
    '{"object":"list","data":[{"embedding":[0.10]}],"model":"upstream","usage":{"prompt_tokens":7,"total_tokens":7}}',
  )
  expect(embeddings.readBody(body)).toMatchObject({ status: 'completed', model: 'upstream', usage: { inputTokens: 7, outputTokens: 0 } })
  expect(embeddings.readBody(Buffer.from('{"data":[],"usage":{"prompt_tokens":-7}}')).usage).toBeNull()
  expect(embeddings.renameInBody(body, 'e').toString()).toContain('"embedding":[0.10]}],"model":"e"')
})
