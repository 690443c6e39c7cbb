import { expect, test } from 'vitest'
import { tableOfProfile } from './profile.ts'

const node = (id: number, functionName: string, url = '') => ({ id, callFrame: { functionName, url, lineNumber: 6 } })

test('a profile tells each function’s own time per call, without the time in which nothing ran', () => {
  const nodes = [node(1, '(idle)'), node(2, 'hold', import.meta.url), node(3, '', 'node:net'), node(4, 'hold', import.meta.url)]
  const table = tableOfProfile({ nodes, samples: [1, 2, 3, 4, 1], timeDeltas: [5_000, 300, 100, 400, 900] }, 10)
  expect(
    table
      .split('\n')
      .slice(2)
      .map(line =>
        line
          .split('|')
          .slice(1, -1)
          .map(cell => cell.trim()),
      ),
  ).toEqual([
    ['80.0', '100.0 %', 'all'],
    ['70.0', '87.5 %', 'hold bench/profile.test.ts:7'],
    ['10.0', '12.5 %', '(anonymous) node:net:7'],
  ])
})
