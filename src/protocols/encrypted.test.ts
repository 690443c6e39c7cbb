import fc from 'fast-check'
import { expect, test } from 'vitest'
import { responses } from './openai-responses.ts'

function factsOf(body: Buffer) {
  const reading = responses.readCall(body)
  if (!('facts' in reading)) throw new Error(reading.fault)
  return reading.facts
}

/** The body that the upstream is then sent, and what is said of it; undefined when nothing is cut. */
function stripped(text: string, model?: string): [string, string] | undefined {
  const body = Buffer.from(text)
  const facts = factsOf(body)
  const found = responses.withoutEncrypted?.(body, facts)
  return found && [Buffer.concat(responses.rewrite(body, facts, { model, cuts: found.cuts })).toString(), found.what]
}

const user = '{"role":"user","content":"hi, [\\"you\\"]"}'
const thought = '{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA="}'
const compacted = '{ "encrypted_content" : "gAAA=", "type":"compaction" }'

test.each<[string, string, string | undefined, string]>([
  ['the first', `[${thought},${user}]`, `[${user}]`, '1 reasoning item'],
  ['the last', `[${user} , ${thought} ]`, `[${user} ]`, '1 reasoning item'],
  ['several at the beginning', `[ ${thought},\n${thought} ,${user}, 1]`, `[ ${user}, 1]`, '2 reasoning items'],
  ['some in the middle', `[${user},${thought},${compacted},${user}]`, `[${user},${user}]`, '1 reasoning item, 1 compacted history'],
  ['a summary of thoughts', `[${user},{"type":"reasoning","id":"rs_1","summary":[]}]`, `[${user}]`, '1 reasoning item'],
  ['an escaped type', `[${user},{"typ\\u0065":"reas\\u006fning"}]`, `[${user}]`, '1 reasoning item'],
  ['what was compacted twice', `[${compacted},${compacted},${user}]`, `[${user}]`, '2 compacted histories'],
  ['what was compacted in the clear', `[${user},{"type":"compaction","encrypted_content":""}]`, undefined, ''],
  ['thoughts inside of something else', `[${user},{"type":"x","content":[${thought}]}]`, undefined, ''],
  ['everything', `[${compacted},${thought}]`, undefined, ''],
  ['nothing', '[]', undefined, ''],
  ['a text', '"hello"', undefined, ''],
  ['items that are no objects', '[1,null,"reasoning",[]]', undefined, ''],
])('%s', (_, input, left, what) => {
  const body = (items: string) => `{"big":12345678901234567890, "input":${items} ,"model":"m"}`
  expect(stripped(body(input))).toEqual(left === undefined ? undefined : [body(left), what])
})

test('other changes are made beside the cuts', () => {
  expect(stripped(`{"input":[${thought},${user}],"model":"m"}`, 'other')).toEqual([
    `{"input":[${user}],"model":"other"}`,
    '1 reasoning item',
  ])
})

test('a body without input is left alone', () => {
  expect(stripped('{"model":"m"}')).toBeUndefined()
})

test('whatever stands around, all of it stays and nothing else', () => {
  const kept = fc.oneof(fc.jsonValue(), fc.record({ type: fc.constantFrom('message', 'function_call'), content: fc.jsonValue() }))
  const cut = fc.record({
    type: fc.constantFrom('reasoning', 'compaction'),
    id: fc.string(),
    encrypted_content: fc.string({ minLength: 1 }),
  })
  const space = fc.constantFrom(undefined, 1, '\t')
  fc.assert(
    fc.property(fc.array(fc.oneof(kept, cut)), space, (input, indent) => {
      const isKept = (item: unknown) => {
        const type = typeof item === 'object' && item !== null && 'type' in item ? item.type : undefined
        return type !== 'reasoning' && type !== 'compaction'
      }
      const left = input.filter(isKept)
      const found = stripped(JSON.stringify({ model: 'm', input, last: true }, null, indent))
      if (left.length === input.length || left.length === 0) expect(found).toBeUndefined()
      else expect(JSON.parse(found![0])).toEqual(JSON.parse(JSON.stringify({ model: 'm', input: left, last: true })))
    }),
    { numRuns: 2_000 },
  )
})

test.each<[string, unknown, boolean]>([
  ['reasoning', [{ role: 'user' }, { type: 'reasoning', encrypted_content: 'x' }], true],
  ['a compacted history', [{ type: 'compaction', encrypted_content: 'x' }], true],
  ['reasoning that is not encrypted', [{ type: 'reasoning', encrypted_content: null }], false],
  ['a message that says so', [{ type: 'message', encrypted_content: 'x' }], false],
  ['a text', 'encrypted_content', false],
])('%s has encrypted content or not', (_, input, has) => {
  expect(factsOf(Buffer.from(JSON.stringify({ model: 'm', input }))).hasEncryptedContent).toBe(has)
})
