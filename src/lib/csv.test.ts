import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readCsv } from './csv.ts'

const read: readonly (readonly [string, readonly (readonly [number, ...string[]])[]])[] = [
  ['', []],
  ['a', [[1, 'a']]],
  [
    'a,b\r\nc,d\r\n',
    [
      [1, 'a', 'b'],
      [2, 'c', 'd'],
    ],
  ],
  [
    '\ufeffa\n\n\nb',
    [
      [1, 'a'],
      [4, 'b'],
    ],
  ],
  [
    'a\rb',
    [
      [1, 'a'],
      [2, 'b'],
    ],
  ],
  ['a,,\n', [[1, 'a', '', '']]],
  [',\n', [[1, '', '']]],
  ['"a,b","say ""no""",""\n', [[1, 'a,b', 'say "no"', '']]],
  [
    '"two\nlines",x\ny',
    [
      [1, 'two\nlines', 'x'],
      [3, 'y'],
    ],
  ],
  [
    '"a\r\nb"\r\nc',
    [
      [1, 'a\r\nb'],
      [3, 'c'],
    ],
  ],
]

test.each(read)('%j is read with its lines', (text, rows) => {
  expect(readCsv(text).map(({ line, cells }) => [line, ...cells])).toEqual(rows)
})

test.each([
  ['a\n"b', 'line 2: a quote is opened and never closed'],
  ['a\n\nb"c', 'line 3: a cell with a quote in it must stand in quotes, and the quote twice'],
  ['"a"b', 'line 1: after a closing quote there must be a comma or the end of the line'],
])('%j is refused where it is wrong', (text, sentence) => {
  expect(() => readCsv(text)).toThrow(sentence)
})

test('whatever is written in quotes is read as it was', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', 'é') })
  const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 5 })
  const written = (rows: string[][]) => rows.map(row => row.map(one => `"${one.replaceAll('"', '""')}"`).join(',')).join('\r\n')
  fc.assert(
    fc.property(table, rows => {
      expect(readCsv(written(rows)).map(({ cells }) => cells)).toEqual(rows)
    }),
  )
})
