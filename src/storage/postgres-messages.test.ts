import { describe, expect, test } from 'vitest'
import type { Value } from './database.ts'
import { Messages } from './postgres-messages.ts'

/** What a server reads, by postgresql.org/docs/current/protocol-message-formats.html. */
interface Message {
  readonly kind: string
  readonly body: Buffer
}

/** Each message is a letter, a length that counts itself, and a body. Fails when that does not come out even. */
function read(bytes: Buffer): Message[] {
  const messages: Message[] = []
  let at = 0
  while (at < bytes.length) {
    const length = bytes.readUInt32BE(at + 1)
    messages.push({ kind: String.fromCharCode(bytes[at]!), body: Buffer.from(bytes.subarray(at + 5, at + 1 + length)) })
    at += 1 + length
  }
  expect(at).toBe(bytes.length)
  return messages
}

const kinds = (messages: Messages) =>
  read(messages.bytes)
    .map(({ kind }) => kind)
    .join('')

/** The values of a Bind: null, or whether they are binary, and their bytes. */
function bound({ body }: Message): (null | { isBinary: boolean; bytes: Buffer })[] {
  let at = body.indexOf(0, body.indexOf(0) + 1) + 1
  const uint16 = () => body.readUInt16BE((at += 2) - 2)
  const int32 = () => body.readInt32BE((at += 4) - 4)
  const formats = Array.from({ length: uint16() }, uint16)
  const values = Array.from({ length: uint16() }, (_, index) => {
    const length = int32()
    if (length === -1) return null
    at += length
    return { isBinary: formats[index] === 1, bytes: body.subarray(at - length, at) }
  })
  expect(uint16()).toBe(0) // All results come as text.
  expect(at).toBe(body.length)
  return values
}

function sent(...values: Value[]) {
  const messages = new Messages()
  messages.run('s1', values)
  return bound(read(messages.bytes)[0]!)
}

describe('what goes to PostgreSQL', () => {
  test('a statement is prepared with the types of its values, and described', () => {
    const messages = new Messages()
    messages.prepare('0.s1', 'select $1', [20, 0])
    messages.sync()
    expect(kinds(messages)).toBe('PDS')
    const [parse, describe] = read(messages.bytes)
    expect(parse!.body).toEqual(Buffer.from('0.s1\0select $1\0\0\x02\0\0\0\x14\0\0\0\0', 'latin1'))
    expect(describe!.body).toEqual(Buffer.from('S0.s1\0'))
  })

  test('it is run by its name, in one portal, for all of its rows', () => {
    const messages = new Messages()
    messages.run('0.s1', [])
    expect(kinds(messages)).toBe('BE')
    const [bind, execute] = read(messages.bytes)
    expect(bind!.body).toEqual(Buffer.from('\x000.s1\0\0\0\0\0\0\0', 'latin1'))
    expect(execute!.body).toEqual(Buffer.from('\0\0\0\0\0', 'latin1'))
  })

  test.each<[string, Value, string]>([
    ['a text', 'plain', 'plain'],
    ['one that is empty', '', ''],
    ['one of many bytes a character', 'ä€😀', 'ä€😀'],
    ['one with a NUL, which PostgreSQL cannot keep', 'a\0b', 'a\u{fffd}b'],
    ['a whole number', -7, '-7'],
    ['the largest of 64 bits', 2n ** 63n - 1n, '9223372036854775807'],
  ])('%s goes as text', (_, value, text) => {
    expect(sent(value)).toEqual([{ isBinary: false, bytes: Buffer.from(text) }])
  })

  test('bytes go as they are, beside values that are text, and a null is none', () => {
    const [text, bytes, none] = sent('a', new Uint8Array([0, 255]), null)
    expect(text).toEqual({ isBinary: false, bytes: Buffer.from('a') })
    expect(bytes).toEqual({ isBinary: true, bytes: Buffer.from([0, 255]) })
    expect(none).toBeNull()
  })

  test('a number with a fraction is refused, as everywhere', () => {
    expect(() => sent(1.5)).toThrow('a number is not whole')
  })

  test('what is larger than the memory for it gets more, and nothing before it is lost', () => {
    const messages = new Messages()
    const texts = ['first', '€'.repeat(100_000), 'last']
    const bytes = new Uint8Array(300_000).fill(7)
    for (const text of texts) messages.run('s1', [text, bytes])
    const binds = read(messages.bytes).filter(({ kind }) => kind === 'B')
    expect(binds.map(bind => bound(bind)[0]!.bytes.toString())).toEqual(texts)
    expect(binds.every(bind => bound(bind)[1]!.bytes.equals(bytes))).toBe(true)
  })

  test('a batch begins where the one before it was cleared', () => {
    const messages = new Messages()
    messages.run('s1', ['x'.repeat(2_000_000)])
    messages.clear()
    messages.sync()
    expect(messages.bytes).toEqual(Buffer.from('S\0\0\0\x04', 'latin1'))
  })
})
