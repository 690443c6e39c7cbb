import { type Fields, isFields } from './json.ts'

/**
 * The texts of a body that are counted as its input: `instructions`, every string that stands under `input` (or `messages`) in a field that
 * holds text, and `tools` as JSON. The few tokens with which an upstream frames each message are not among them, nor is what it reads
 * elsewhere: a stored prompt or context, files, images. Without recursion: a body may be nested deeper than the stack is.
 */
export function textsOfInput({ input, messages, instructions, tools }: Fields): string[] {
  const texts: string[] = []
  if (typeof instructions === 'string') texts.push(instructions)
  if (Array.isArray(tools) && tools.length > 0) texts.push(JSON.stringify(tools))
  const pending: { readonly value: unknown; readonly isText: boolean }[] = [input, messages].map(value => ({ value, isText: true }))
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, isText } = next
    if (typeof value === 'string' && isText) texts.push(value)
    else if (Array.isArray(value)) for (const member of value) pending.push({ value: member, isText })
    else if (isFields(value)) for (const name in value) pending.push({ value: value[name], isText: textFields.has(name) })
  }
  return texts
}

const textFields: ReadonlySet<string> = new Set(['input', 'content', 'text', 'output', 'arguments'])
