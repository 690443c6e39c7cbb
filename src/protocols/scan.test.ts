import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isBlank, namesToFind, nestingDepthMax, scanObject, valuesMax } from './scan.ts'

const names = namesToFind(['model', 'input', ''])

function found(text: string) {
  const bytes = Buffer.from(text)
  const scan = scanObject(bytes, names)
  return scan?.members.map(({ name, valueStart, valueEnd }) => [name, bytes.toString('utf8', valueStart, valueEnd)])
}

test.each([
  ['{"model":"a"}', [['model', '"a"']]],
  [
    ' \n{ "model"\t: "a" , "input" :\r\n[1,\n{"model":2}] } ',
    [
      ['model', '"a"'],
      ['input', '[1,\n{"model":2}]'],
    ],
  ],
  ['{"mod\\u0065l":1}', [['model', '1']]],
  [
    '{"\\u006d\\u006fdel":1,"model":2}',
    [
      ['model', '1'],
      ['model', '2'],
    ],
  ],
  ['{"":null}', [['', 'null']]],
  ['{"other":{"model":"deep"},"a":["model"],"b":"\\"model\\":1","model":-1.5e3}', [['model', '-1.5e3']]],
  ['{"x":"\\\\","model":"\\\\\\""}', [['model', '"\\\\\\""']]],
  ['{"x":"}{][,:","model":{"a":"}"}}', [['model', '{"a":"}"}']]],
  ['{"é":"日本語","model":"ü"}', [['model', '"ü"']]],
  ['{}', []],
])('%s has these members', (text, members) => {
  expect(found(text)).toEqual(members)
})

test.each([
  '',
  '  ',
  'null',
  '[]',
  '"model"',
  '1',
  '{',
  '{"model"',
  '{"model":',
  '{"model":"a',
  '{"model":"a"',
  '{"model":[1',
  '{model:1}',
  '{"a":1,}',
  '{"a":1 "b":2}',
  '\ufeff{}',
  '{"a":"\\',
])('%j is no object', text => {
  expect(found(text)).toBeUndefined()
})

test('strings that are long, or full of quotes and backslashes, end where they end', () => {
  const long = 'x'.repeat(1000)
  for (const text of [
    long,
    `${long}"`,
    `${long}\\`,
    `${long}\\"${long}\\\\"`,
    `"${long}\\\\\\"`,
    '\\"'.repeat(300),
    `${'\\'.repeat(301)}"${long}`,
  ])
    expect(found(JSON.stringify({ a: text, model: text }))).toEqual([['model', JSON.stringify(text)]])
})

test('an escape is not taken for a name that is written like it', () => {
  const bytes = Buffer.from(String.raw`{"a\n":1,"a\\n":2}`)
  const members = scanObject(bytes, namesToFind([String.raw`a\n`]))?.members.map(({ valueStart }) =>
    bytes.toString('utf8', valueStart, valueStart + 1),
  )
  expect(members).toEqual(['2'])
})

test('every member of every object is found where the parser finds it', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.oneof(fc.constantFrom('model', 'input'), fc.string({ unit: 'binary' })), fc.jsonValue()),
      fc.constantFrom(0, 1, '\t'),
      (object, indent) => {
        const bytes = Buffer.from(JSON.stringify(object, null, indent))
        const scan = scanObject(bytes, namesToFind(Object.keys(object)))
        expect(scan?.isEmpty).toBe(Object.keys(object).length === 0)
        const members = scan?.members.map(({ name, valueStart, valueEnd }) => [
          name,
          JSON.parse(bytes.toString('utf8', valueStart, valueEnd)),
        ])
        expect(members).toEqual(Object.entries(JSON.parse(bytes.toString())))
      },
    ),
    { numRuns: 500 },
  )
})

test('no bytes make the scan throw, loop, or look outside them', () => {
  const pieces = fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', ' ', '"model"', '1', 'é', '\u0000')
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), parts => {
      const bytes = Buffer.from(`{${parts.join('')}`)
      for (const { valueStart, valueEnd } of scanObject(bytes, names)?.members ?? [])
        expect(0 < valueStart && valueStart < valueEnd && valueEnd <= bytes.length).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('the scan stops after the members it was asked for', () => {
  const broken = Buffer.from('{"model":1,"input":2,!')
  expect(scanObject(broken, names, { membersMax: 2 })?.members.map(({ name }) => name)).toEqual(['model', 'input'])
  expect(scanObject(broken, names)).toBeUndefined()
})

test('nesting is bounded, at the bound and one beyond', () => {
  const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  expect(found(nested(nestingDepthMax))).toEqual([])
  expect(found(nested(nestingDepthMax + 1))).toBeUndefined()
})

test('the number of values is bounded over all members together', () => {
  const half = `[${'0,'.repeat(valuesMax / 2)}0]`
  expect(found(`{"a":${half}}`)).toEqual([])
  expect(found(`{"a":${half},"b":${half}}`)).toBeUndefined()
})

test.each([
  ['', true],
  [' \t\r\n', true],
  ['\ufeff', false],
  ['\u00a0', false],
  [' 0', false],
])('%j is blank: %s', (text, blank) => {
  expect(isBlank(Buffer.from(text))).toBe(blank)
})
