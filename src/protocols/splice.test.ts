import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readFacts } from './openai-responses.ts'
import { byteLengthOf, type Changes, spliceBody } from './splice.ts'

function factsOf(body: Buffer) {
  const reading = readFacts(body)
  if (!('facts' in reading)) throw new Error(reading.fault)
  return reading.facts
}

function spliced(text: string, changes: Changes): string {
  const body = Buffer.from(text)
  const slices = spliceBody(body, factsOf(body), changes)
  const whole = Buffer.concat(slices)
  expect(byteLengthOf(slices)).toBe(whole.length)
  return whole.toString()
}

test.each<[string, Changes, string]>([
  ['{"model":"a"}', {}, '{"model":"a"}'],
  ['{"model":"a"}', { model: 'b' }, '{"model":"b"}'],
  ['{"model":"a"}', { instructions: 'be "kind"\n' }, '{"instructions":"be \\"kind\\"\\n","model":"a"}'],
  ['  {\n "model" : "a"\t}\n', { max_output_tokens: 16 }, '  {"max_output_tokens":16,\n "model" : "a"\t}\n'],
  ['{"x":12345678901234567890,"model":"a","y":1.0}', { model: 'b' }, '{"x":12345678901234567890,"model":"b","y":1.0}'],
  ['{"max_output_tokens" : 1e5 ,"model":"a"}', { max_output_tokens: 99 }, '{"max_output_tokens" : 99 ,"model":"a"}'],
  ['{"metadata":{"model":"x"},"model":"a","z":["model","b"]}', { model: 'ü' }, '{"metadata":{"model":"x"},"model":"ü","z":["model","b"]}'],
  ['{"mod\\u0065l":"a","日":"本\\/"}', { model: 'b' }, '{"mod\\u0065l":"b","日":"本\\/"}'],
  [
    '{"model":"a","instructions":null,"safety_identifier":""}',
    { instructions: 'i', safety_identifier: 's' },
    '{"model":"a","instructions":"i","safety_identifier":"s"}',
  ],
  [
    '{"instructions":[1,{"a":"]"}],"model":"a"}',
    { model: 'b', instructions: 'i', max_output_tokens: 7, safety_identifier: 's' },
    '{"max_output_tokens":7,"safety_identifier":"s","instructions":"i","model":"b"}',
  ],
])('%s with %j becomes %s', (text, changes, expected) => {
  expect(spliced(text, changes)).toBe(expected)
})

test('an empty object takes its first member without a comma', () => {
  const slices = spliceBody(Buffer.from('{ }'), { fields: {}, insertAt: 1, isEmptyObject: true }, { model: 'b', max_output_tokens: 1 })
  expect(Buffer.concat(slices).toString()).toBe('{"model":"b","max_output_tokens":1 }')
})

test('what is not changed is not copied', () => {
  const body = Buffer.from(`{"input":"${'x'.repeat(100_000)}","model":"a"}`)
  const [head] = spliceBody(body, factsOf(body), { model: 'b' })
  expect(head?.buffer).toBe(body.buffer)
  expect(head?.byteOffset).toBe(body.byteOffset)
})

const changes = fc.record(
  {
    model: fc.string({ unit: 'binary', minLength: 1 }),
    instructions: fc.string({ unit: 'binary' }),
    max_output_tokens: fc.nat(),
    safety_identifier: fc.string(),
  },
  { requiredKeys: [] },
)

test('parsing the spliced body gives the original with just those fields changed, and taking the changes out gives the original bytes', () => {
  const body = fc.record(
    {
      instructions: fc.jsonValue(),
      max_output_tokens: fc.jsonValue(),
      safety_identifier: fc.jsonValue(),
      metadata: fc.jsonValue(),
      zz: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(body, fc.string({ minLength: 1 }), changes, fc.constantFrom(0, 3), (rest, model, wanted, indent) => {
      const bytes = Buffer.from(JSON.stringify({ ...rest, model }, null, indent))
      const facts = factsOf(bytes)
      const slices = spliceBody(bytes, facts, wanted)
      // As on the wire: a lone surrogate in a name cannot leave as UTF-8, but leaves as an escape.
      expect(JSON.parse(Buffer.concat(slices).toString())).toEqual({ ...JSON.parse(bytes.toString()), ...wanted })
      const own = slices.filter(
        slice =>
          slice.buffer === bytes.buffer && slice.byteOffset >= bytes.byteOffset && slice.byteOffset < bytes.byteOffset + bytes.length,
      )
      const spans = Object.entries(facts.fields).filter(([name]) => name in wanted)
      const kept = spans
        .sort(([, a], [, b]) => b.valueStart - a.valueStart)
        .reduce((left, [, span]) => Buffer.concat([left.subarray(0, span.valueStart), left.subarray(span.valueEnd)]), bytes)
      expect(Buffer.concat(own).equals(kept)).toBe(true)
    }),
    { numRuns: 500 },
  )
})
