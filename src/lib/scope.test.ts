import { expect, test } from 'vitest'
import { Scope } from './scope.ts'
import { overAtOnce } from './soon.ts'

test('what was opened last is undone first, once', async () => {
  const undone: string[] = []
  const thing = { [Symbol.asyncDispose]: async () => void undone.push('thing') }
  const soon = { [Symbol.dispose]: () => void undone.push('at once') }
  const scope = new Scope()
  expect(scope.use(thing)).toBe(thing)
  expect(scope.use(soon)).toBe(soon)
  scope.defer(async () => void undone.push('deferred'))
  await scope[Symbol.asyncDispose]()
  await scope[Symbol.asyncDispose]()
  expect(undone).toEqual(['deferred', 'at once', 'thing'])
})

test('one that fails keeps nothing from being undone; the first failure is told', async () => {
  const undone: string[] = []
  const scope = new Scope()
  scope.defer(async () => void undone.push('first'))
  scope.defer(() => Promise.reject(new Error('second')))
  scope.defer(() => {
    throw new Error('third')
  })
  await expect(scope[Symbol.asyncDispose]()).rejects.toThrow('third')
  expect(undone).toEqual(['first'])
})

test('one that fails behind those that had to be waited for is told, too', async () => {
  const undone: string[] = []
  const scope = new Scope()
  scope.defer(() => Promise.reject(new Error('first')))
  scope.defer(async () => void undone.push('second'))
  scope.use({ [Symbol.dispose]: () => void undone.push('third') })
  await expect(scope[Symbol.asyncDispose]()).rejects.toThrow('first')
  expect(undone).toEqual(['third', 'second'])
})

test('nothing is waited for that was over at once', async () => {
  const undone: string[] = []
  const scope = new Scope()
  scope.defer(() => overAtOnce.then(() => undefined))
  scope.use({ [Symbol.dispose]: () => void undone.push('second') })
  scope.defer(() => {
    undone.push('third')
    return overAtOnce
  })
  const undoing = scope[Symbol.asyncDispose]()
  expect([undone, undoing === overAtOnce]).toEqual([['third', 'second'], false])
  await undoing
  expect(scope[Symbol.asyncDispose](), 'with nothing in it').toBe(overAtOnce)
})

test('what was handed on is undone by whoever has it now', async () => {
  const undone: string[] = []
  const scope = new Scope()
  scope.defer(async () => void undone.push('moved'))
  const moved = scope.move()
  await scope[Symbol.asyncDispose]()
  expect(undone).toEqual([])
  await moved[Symbol.asyncDispose]()
  expect(undone).toEqual(['moved'])
})
