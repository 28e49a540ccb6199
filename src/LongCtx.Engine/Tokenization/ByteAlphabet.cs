namespace LongCtx.Engine.Tokenization;

/// <summary>GPT-2's printable stand-ins for bytes: a byte that prints stands for itself, the others are U+0100 and following in order.</summary>
internal static class ByteAlphabet
{
    static readonly char[] CharOf = new char[256];
    static readonly short[] ByteOf = new short[0x144];

    static ByteAlphabet()
    {
        Array.Fill(ByteOf, (short)-1);
        int other = 0x100;
        for (int b = 0; b < 256; b++)
        {
            bool prints = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE;
            CharOf[b] = prints ? (char)b : (char)other++;
            ByteOf[CharOf[b]] = (short)b;
        }
    }

    public static string Of(byte value) => CharOf[value].ToString();

    /// <summary>The bytes a token's text stands for; null when it uses other characters.</summary>
    public static byte[]? Decode(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (token[i] >= ByteOf.Length || ByteOf[token[i]] < 0) return null;
            bytes[i] = (byte)ByteOf[token[i]];
        }
        return bytes;
    }
}
