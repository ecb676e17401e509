/**
 * Members on the local network, by multicast DNS (RFC 6762): who is asked for the service answers with a `dnsaddr=` text
 * for each of its addresses, as libp2p's mDNS does, under a service name of Covey's own. Asked is only when somebody
 * wants to know; libp2p's own module asks every 10 s, and answers with addresses that this peer does not advertise.
 *
 * Anybody on the local network hears these answers and may forge them. So they name no mesh, and what they say is worth a
 * dial: who is there is proven by the handshake.
 */
import type { MulticastDNS, ResponseOutgoingPacket, ResponsePacket } from 'multicast-dns';
import type { PeerId } from '../ports/identity.ts';
import type { Address, Place } from '../ports/network.ts';
import { parseAddress, toMultiaddr } from './libp2p-address.ts';
import { placeOf } from './names.ts';

const SERVICE = '_covey._tcp.local';
const PORT = 5_353;
const TTL_SECONDS = 120;
/** Of one look; a network with more members answers with enough of them. */
const PLACES_MAX = 64;
/** A length byte stands before each text. */
const TEXT_BYTES_MAX = 255;
/** Whoever floods us with questions gets so many answers a second. */
const ANSWERS_PER_SECOND_MAX = 10;
const IP_V4 = /^\d+\.\d+\.\d+\.\d+$/;

export interface LocalNamesOptions {
  readonly peerId: PeerId;
  /** Where this peer listens: on one address only its interface is used. */
  readonly host: string;
  /** UDP; default: that of mDNS. */
  readonly port?: number | undefined;
  readonly log: (what: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class LocalNames {
  readonly #options: LocalNamesOptions;
  #socket: Promise<MulticastDNS | undefined> | undefined;
  #texts: readonly string[] = [];
  #answersLeft = ANSWERS_PER_SECOND_MAX;
  #stopped = false;
  #refill: NodeJS.Timeout | undefined;

  constructor(options: LocalNamesOptions) {
    this.#options = options;
  }

  /** From now on whoever asks hears of these addresses. */
  async announce(addresses: readonly Address[]): Promise<void> {
    const end = `/p2p/${this.#options.peerId}`;
    this.#texts = addresses
      .flatMap((address) => parseAddress(address) ?? [])
      .map((place) => `dnsaddr=${toMultiaddr(place).toString()}${end}`)
      .filter((text) => text.length <= TEXT_BYTES_MAX);
    await this.#open();
  }

  /** Those that answer within the time. Empty: nobody, or there is no multicast here. */
  async ask(timeoutMs: number): Promise<readonly Place[]> {
    const socket = await this.#open();
    if (socket === undefined) return [];
    const places = new Map<string, Place>();
    const take = (packet: ResponsePacket): void => {
      for (const place of placesIn(packet))
        if (place.peerId !== this.#options.peerId && places.size < PLACES_MAX)
          places.set(`${place.peerId} ${place.address}`, place);
    };
    socket.on('response', take);
    socket.query({ questions: [{ name: SERVICE, type: 'PTR' }] });
    await new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref());
    socket.removeListener('response', take);
    return [...places.values()];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const socket = await this.#socket;
    // Not before: it may have been about to begin.
    clearInterval(this.#refill);
    if (socket !== undefined) await ended(socket);
  }

  #open(): Promise<MulticastDNS | undefined> {
    this.#socket ??= this.#create();
    return this.#socket;
  }

  async #create(): Promise<MulticastDNS | undefined> {
    if (this.#stopped) return undefined;
    // Loaded by those alone who use it.
    const { default: multicastDns } = await import('multicast-dns');
    const { host, port = PORT, log } = this.#options;
    const isOne = IP_V4.test(host) && host !== '0.0.0.0';
    // Bound to the address of one interface it would hear no multicast.
    const on = isOne ? { interface: host, bind: '0.0.0.0' } : {};
    const socket = multicastDns({ port, ...on });
    const failure = await new Promise<Error | undefined>((resolve) => {
      socket.once('ready', () => resolve(undefined));
      socket.on('error', resolve);
      // Packets of others that are none, and interfaces without multicast.
      socket.on('warning', () => undefined);
    });
    if (failure !== undefined) {
      log('mDNS does not work here', { error: failure.message });
      await ended(socket);
      // Whoever asks next tries it again.
      this.#socket = undefined;
      return undefined;
    }
    socket.on('error', (error: Error) => log('mDNS failed', { error: error.message }));
    socket.on('query', ({ questions }) => {
      if (questions.some(({ name }) => name === SERVICE)) this.#answer(socket);
    });
    this.#refill = setInterval(() => {
      this.#answersLeft = ANSWERS_PER_SECOND_MAX;
    }, 1_000).unref();
    return socket;
  }

  #answer(socket: MulticastDNS): void {
    if (this.#texts.length === 0 || this.#answersLeft === 0) return;
    this.#answersLeft -= 1;
    const name = `${this.#options.peerId}.${SERVICE}`;
    const answer: ResponseOutgoingPacket = {
      answers: [
        { name: SERVICE, type: 'PTR', ttl: TTL_SECONDS, data: name },
        ...this.#texts.map((data) => ({ name, type: 'TXT' as const, ttl: TTL_SECONDS, data })),
      ],
    };
    socket.respond(answer);
  }
}

const ended = (socket: MulticastDNS): Promise<void> =>
  new Promise((resolve) => socket.destroy(() => resolve()));

/** Only what says who is there: others would have to be asked one by one who they are. */
function placesIn({ answers, additionals }: ResponsePacket): (Place & { peerId: PeerId })[] {
  const records = [...(answers ?? []), ...(additionals ?? [])];
  return records.flatMap((record) => {
    if (record.type !== 'TXT' || !record.name.endsWith(`.${SERVICE}`)) return [];
    const texts = Array.isArray(record.data) ? record.data : [record.data];
    return texts.flatMap((text) => {
      const place = placeOf(text.toString());
      return place?.peerId === undefined ? [] : [{ ...place, peerId: place.peerId }];
    });
  });
}
