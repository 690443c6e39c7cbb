import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Gathering } from './gathering.ts'

test('those that come in one turn, and in the next ones, go together', async () => {
  const ground = openGround()
  for (let turns = 0; turns < 3; turns += 1) {
    ground.come(2)
    await turn()
  }
  expect(ground.sent).toEqual([])
  await turns(3)
  expect(ground.sent).toEqual([6])
})

test('one that comes alone goes at the end of its turn, when those before came alone', async () => {
  const ground = openGround()
  ground.come(1)
  expect(ground.sent).toEqual([])
  await turns(1)
  expect(ground.sent).toEqual([1])
  ground.come(8)
  await turns(3)
  ground.come(1)
  await turns(1)
  expect(ground.sent, 'after many it waits a turn for others').toEqual([1, 8])
  await turns(2)
  expect(ground.sent).toEqual([1, 8, 1])
})

test('asked for now, one goes at once, but not after many, and not before those that wait', async () => {
  const ground = openGround()
  ground.come(1, 'now')
  expect(ground.sent).toEqual([1])
  ground.come(4)
  ground.come(1, 'now')
  expect(ground.sent).toEqual([1])
  await turns(3)
  expect(ground.sent).toEqual([1, 5])
  ground.come(1, 'now')
  expect(ground.sent).toEqual([1, 5])
  await turns(3)
  expect(ground.sent).toEqual([1, 5, 1])
})

test('nobody waits for ever while others come', async () => {
  const ground = openGround()
  const untilMs = performance.now() + 2_000
  while (ground.sent.length === 0 && performance.now() < untilMs) {
    ground.come(1)
    ground.come(1)
    await turn()
  }
  expect(ground.sent.length).toBe(1)
})

function openGround() {
  const sent: number[] = []
  let waiting = 0
  const gathering = new Gathering(
    () => waiting,
    () => {
      sent.push(waiting)
      waiting = 0
    },
  )
  return {
    sent,
    come(count: number, when: 'soon' | 'now' = 'soon') {
      for (let more = 0; more < count; more += 1) {
        waiting += 1
        gathering[when]()
      }
    },
  }
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await turn()
}
