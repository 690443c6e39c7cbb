import { expect, test } from 'vitest'
import { positional } from './placeholders.ts'

test.each([
  ['in order', 'a = $1 and b = $2', 'a = ? and b = ?', [0, 1], 2],
  ['repeated', 'a = $1 or b = $1', 'a = ? or b = ?', [0, 0], 1],
  ['in any order', '$3, $1, $2', '?, ?, ?', [2, 0, 1], 3],
  ['of two digits', '$10 $1', '? ?', [9, 0], 10],
  ['none', 'select 1', 'select 1', [], 0],
  ['but not in a string', "'$1' || '''$2' || $1", "'$1' || '''$2' || ?", [0], 1],
  ['but not in a quoted name', '"$1" = $2', '"$1" = ?', [1], 2],
  ['but not in a comment', "$1 -- it's $2\n, $3 /* $4 ' */, $5", "? -- it's $2\n, ? /* $4 ' */, ?", [0, 2, 4], 5],
  ['but not in a name', 'cost$1 = $1', 'cost$1 = ?', [0], 1],
])('placeholders are found %s', (_, sql, translated, order, count) => {
  expect(positional(sql)).toEqual({ sql: translated, order, count })
})
