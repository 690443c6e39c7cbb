/** The grammar of header fields (RFC 9110, 5.5 and 5.6.2), which what is written keeps to and what is read is held to. */

const token = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/
const flawOfValue = /[^\t\x20-\x7e\x80-\xff]/

/** Whether it can be the name of a field. */
export function isFieldName(text: string): boolean {
  return token.test(text)
}

/** Whether it can be a value, as latin1: no line's end, nothing else that steers. */
export function isFieldValue(text: string): boolean {
  return !flawOfValue.test(text)
}

const space = 0x20
const tab = 0x09

/** What stands between two places, without the blanks around it. */
export function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === space || code === tab
}

/** Headers as they are read: nothing in it but what was put there. V8 would keep a literal without a prototype as a hash table. */
export class Fields<Value = string> {
  [name: string]: Value
}
Reflect.deleteProperty(Fields.prototype, 'constructor')
Object.setPrototypeOf(Fields.prototype, null)

/** Names are remembered up to this length, and so many of them. */
const rememberedLengthMax = 64
const rememberedMax = 1_000

/**
 * Reads names as everybody calls them, in lower case; undefined for what can be none. The same few come with every message, so they are remembered:
 * by whoever reads, because those who fill it with others spoil it for their own kind only.
 */
export function fieldNameReader(): (raw: string) => string | undefined {
  const remembered = new Map<string, string>()
  return raw => {
    const known = remembered.get(raw)
    if (known !== undefined) return known
    if (!isFieldName(raw)) return undefined
    const name = raw.toLowerCase()
    if (remembered.size < rememberedMax && raw.length <= rememberedLengthMax) remembered.set(copyOf(raw), copyOf(name))
    return name
  }
}

/** A text that was cut from another keeps all of that one. */
function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
