import { expect, test } from 'vitest'
import { Fields, fieldNameReader } from './http-field.ts'

test('nothing is in fields but what was put there, whatever it is called', () => {
  const fields = new Fields()
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    expect(fields[name], name).toBeUndefined()
    fields[name] = name
  }
  expect(Object.entries(fields)).toEqual([
    ['constructor', 'constructor'],
    ['toString', 'toString'],
    ['__proto__', '__proto__'],
    ['hasOwnProperty', 'hasOwnProperty'],
  ])
  expect(Object.keys(new Fields())).toEqual([])
})

test('a name is read in lower case, and what can be none is not, the first time and later', () => {
  const read = fieldNameReader()
  for (let time = 0; time < 2; time += 1) {
    expect(read('Content-TYPE')).toBe('content-type')
    for (const none of ['', 'a b', 'a\r', 'é', 'a:']) expect(read(none), none).toBeUndefined()
  }
})

test('whoever makes up thousands of names, or long ones, is read all the same', () => {
  const read = fieldNameReader()
  for (let index = 0; index < 3_000; index += 1) expect(read(`X-${index}`)).toBe(`x-${index}`)
  const long = 'A'.repeat(16_000)
  for (let time = 0; time < 2; time += 1) expect(read(long)).toBe(long.toLowerCase())
  expect(read('Host')).toBe('host')
})
