using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Names the beginnings of a chat: key i stands for its first i messages, by role and text alone, whatever tokens they became.
/// key(i) = SHA-256(key(i-1), role, text), cut to 128 bits.
/// </summary>
internal sealed class MessageChain
{
    /// <summary>The key of no messages at all: every prompt begins with it.</summary>
    public static readonly UInt128 Empty = UInt128.Zero;

    /// <summary>Of a raw text.</summary>
    public static readonly MessageChain None = new([]);

    readonly UInt128[] _keys;

    public MessageChain(IReadOnlyList<ChatMessage> messages)
    {
        _keys = new UInt128[messages.Count + 1];
        _keys[0] = Empty;
        for (int i = 0; i < messages.Count; i++) _keys[i + 1] = Next(_keys[i], messages[i].Role, messages[i].Content);
    }

    public int Messages => _keys.Length - 1;

    public UInt128 this[int messages] => _keys[messages];

    public static UInt128 Next(UInt128 chain, string role, string text)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> head = stackalloc byte[20];
        BinaryPrimitives.WriteUInt128LittleEndian(head, chain);
        BinaryPrimitives.WriteInt32LittleEndian(head[16..], role.Length); // so that role and text cannot run into each other
        hash.AppendData(head);
        hash.AppendData(MemoryMarshal.AsBytes(role.AsSpan()));
        hash.AppendData(MemoryMarshal.AsBytes(text.AsSpan()));
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        hash.GetHashAndReset(digest);
        return BinaryPrimitives.ReadUInt128LittleEndian(digest);
    }
}
