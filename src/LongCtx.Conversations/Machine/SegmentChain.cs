using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Conversations.Storage;

namespace LongCtx.Conversations.Machine;

/// <summary>
/// Segments are the token log from its beginning, chained by hashes. The first one holds the sinks: they never leave the window, but a
/// journal may be trimmed, and then segments and the newest events still make up the whole log.
/// </summary>
public static class SegmentChain
{
    /// <summary>What is to be stored when <paramref name="count"/> more tokens leave the window: their segment, which is the last one, behind that of the sinks if there is none yet.</summary>
    /// <param name="tail">Holds the log from <see cref="ConversationState.Unsegmented"/> on.</param>
    public static StoredSegment[] Next(ConversationState state, TokenTail tail, int count)
    {
        if (state.Unsegmented == state.SegmentEnd) return [Behind(state.Segments, state.SegmentHash, state.SegmentEnd)];
        int[] sinks = tail.Range(0, state.SegmentEnd);
        var first = new StoredSegment(1, 0, sinks, HashOf("", sinks));
        return [first, Behind(1, first.Hash, state.SegmentEnd)];

        StoredSegment Behind(int number, string hash, long start)
        {
            int[] ids = tail.Range(start, start + count);
            return new(number + 1, start, ids, HashOf(hash, ids));
        }
    }

    /// <summary>SHA-256 over the previous hash (as hex text) and the ids as little-endian 32-bit integers.</summary>
    public static string HashOf(string previous, ReadOnlySpan<int> ids) =>
        Convert.ToHexStringLower(SHA256.HashData([.. Encoding.ASCII.GetBytes(previous), .. MemoryMarshal.AsBytes(ids)]));
}
