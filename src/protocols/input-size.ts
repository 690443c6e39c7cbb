import { imageTokens, pixelsOf } from './image-tokens.ts'
import { type Fields, isFields } from './json.ts'
import { tokensBeyondHalf } from './text-tokens.ts'

export interface InputSize {
  /** An upper estimate of the input's tokens. */
  readonly tokens: number
  /** Those of them that are not text: of images, files and audio, by their rules. */
  readonly mediaTokens: number
  /** The files that the input uses, each once. */
  readonly fileIds: readonly string[]
}

/** The bytes of a file, decoded, count as text does; a PDF adds the picture of its pages, of which the first is counted. */
const fileTokensPerByte = 1 / 2
/** No model takes a longer input than this, so no file can be billed as more. */
const fileTokensMax = 922_000
/** A file that stands elsewhere: about fifty pages of text and their pictures. */
const storedFileTokens = 100_000
/** Ten tokens a second of audio, and hardly any encoding needs less than a kilobyte for that. */
const audioTokensPerByte = 1 / 100

/**
 * Estimates from above how many tokens a body is billed as input. All its bytes but those of images, files and audio in base64 count
 * one token for two, with more for text that is denser than that (`tokensBeyondHalf`). An image counts what its size and detail can be
 * billed as (`imageTokens`); a file half of its bytes, at least one page, or a fixed number when only its id or address is known; audio
 * a hundredth of its bytes. For text this is a bound, for the rest a rule. What hosted tools read while they run is not in it.
 */
export function sizeOf(body: Fields, bodyBytes: number, inputName: 'input' | 'messages' | 'items' = 'input'): InputSize {
  const sums: Sums = { payloadChars: 0, mediaTokens: 0, denseTokens: 0, fileIds: new Set(), isInInput: true }
  walk([body[inputName]], sums)
  sums.isInInput = false
  const others: unknown[] = []
  visit(body, sums, others, inputName)
  walk(others, sums)
  const tokens = Math.ceil((bodyBytes - sums.payloadChars) / 2 + sums.denseTokens) + sums.mediaTokens
  return { tokens, mediaTokens: sums.mediaTokens, fileIds: [...sums.fileIds] }
}

interface Sums {
  payloadChars: number
  mediaTokens: number
  denseTokens: number
  readonly fileIds: Set<string>
  /** Ids of files elsewhere only speak of them. */
  isInInput: boolean
}

/** Visits all that is pending, and what is in it, without recursion: a body may be nested deeper than the stack is. */
function walk(pending: unknown[], sums: Sums): void {
  while (pending.length > 0) {
    const value = pending.pop()
    if (typeof value === 'string') sums.denseTokens += tokensBeyondHalf(value)
    else if (Array.isArray(value)) for (const member of value) pending.push(member)
    else if (isFields(value)) visit(value, sums, pending)
  }
}

/** `apart`: the member that is seen to apart from the others. */
function visit(value: Fields, sums: Sums, pending: unknown[], apart?: string): void {
  // What an earlier search found and quoted: ids in it name files, but do not use them.
  if (value.type === 'file_search_call') return
  const payload = payloadOf(value, sums)
  for (const key in value) {
    const member = value[key]
    if (key === 'file_id' && sums.isInInput && typeof member === 'string' && member.trim() !== '') sums.fileIds.add(member)
    if (key === 'annotations' || key === apart || member === payload) continue
    if (typeof member === 'string' || (typeof member === 'object' && member !== null)) pending.push(member)
  }
}

/** Counts the image, file or audio that this object is, and returns what of it must not be counted as text. */
function payloadOf(value: Fields, sums: Sums): unknown {
  switch (value.type) {
    case 'input_image':
    case 'computer_screenshot':
      return image(value.image_url, value.detail, sums)
    case 'image_generation_call':
      return image(value.result, 'auto', sums)
    case 'input_file':
      return file(value.file_data, sums)
    // The three below are chat's, which keeps each in an object of its own.
    case 'image_url':
      return isFields(value.image_url) && image(value.image_url.url, value.image_url.detail, sums) !== undefined
        ? value.image_url
        : undefined
    case 'file':
      return isFields(value.file) && file(value.file.file_data, sums) !== undefined ? value.file : undefined
    case 'input_audio':
      return isFields(value.input_audio) ? audio(value.input_audio.data, value.input_audio, sums) : undefined
    default:
      return undefined
  }
}

function image(source: unknown, detail: unknown, sums: Sums): unknown {
  const payload = typeof source === 'string' && !/^https?:/i.test(source) ? source : undefined
  sums.mediaTokens += imageTokens(detail, payload === undefined ? undefined : pixelsOf(payload, base64From(payload)))
  sums.payloadChars += payload?.length ?? 0
  return payload
}

function file(content: unknown, sums: Sums): unknown {
  if (typeof content !== 'string') {
    sums.mediaTokens += storedFileTokens
    return undefined
  }
  const bytes = decodedBytes(content)
  sums.mediaTokens += Math.min(fileTokensMax, Math.ceil(bytes * fileTokensPerByte) + imageTokens('high', undefined))
  sums.payloadChars += content.length
  return content
}

function audio(content: unknown, holder: unknown, sums: Sums): unknown {
  if (typeof content !== 'string') return undefined
  sums.mediaTokens += Math.ceil(decodedBytes(content) * audioTokensPerByte)
  sums.payloadChars += content.length
  return holder
}

const dataUrlHeadMax = 256

/** Where the base64 of `data:image/png;base64,…` begins; 0 when it is bare. */
function base64From(source: string): number {
  return source.startsWith('data:') ? source.slice(0, dataUrlHeadMax).indexOf(',') + 1 : 0
}

function decodedBytes(base64: string): number {
  return Math.ceil(((base64.length - base64From(base64)) * 3) / 4)
}
