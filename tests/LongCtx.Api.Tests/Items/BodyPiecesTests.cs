using System.IO.Pipelines;
using System.Text;
using LongCtx.Api.Json;

namespace LongCtx.Api.Tests;

/// <summary>Bodies in pieces: the same pieces however the bytes arrive, and nothing of the text lost or added.</summary>
public sealed class BodyPiecesTests(ITestOutputHelper output)
{
    const int Rounds = 200;

    static readonly string[] Words = ["a", "ox", "whale", "é", "👍🏽", "日本語", " ", "  ", "\n", "\r\n", "\n\n", new('x', 40), new('é', 40)];

    [Fact]
    public async Task Lines_ArrivingInRandomChunks_AreTheLinesOfTheText()
    {
        Random random = NewRandom();
        for (int round = 0; round < Rounds; round++)
        {
            string text = RandomText(random);
            List<BodyPiece> pieces = await ReadAsync(random, text, body => BodyPieces.LinesAsync(body, 4096, TestContext.Current.CancellationToken));

            string[] naive = text.Split('\n');
            string[] expected = [.. naive.SkipLast(1).Select(l => l + "\n"), .. naive.TakeLast(1).Where(l => l.Length > 0)];
            Assert.Equal(expected, pieces.Select(p => p.Text));
            AssertEnds(text, pieces);
        }
    }

    [Fact]
    public async Task Text_ArrivingInRandomChunks_IsCutByItsContentAlone()
    {
        Random random = NewRandom();
        for (int round = 0; round < Rounds; round++)
        {
            string text = RandomText(random);
            int max = random.Next(8, 64);
            List<BodyPiece> pieces = await ReadAsync(random, text, body => BodyPieces.TextAsync(body, max, TestContext.Current.CancellationToken));
            List<BodyPiece> whole = await ReadAsync(null, text, body => BodyPieces.TextAsync(body, max, TestContext.Current.CancellationToken));

            Assert.Equal(whole, pieces);
            Assert.Equal(text, string.Concat(pieces.Select(p => p.Text)));
            Assert.All(pieces, p => Assert.InRange(Encoding.UTF8.GetByteCount(p.Text), 1, max));
            AssertEnds(text, pieces);
            // Whoever goes on behind an acknowledged piece gets the same pieces as before.
            BodyPiece known = pieces[random.Next(pieces.Count)];
            string rest = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)[(int)known.End..]);
            List<BodyPiece> resumed = await ReadAsync(random, rest, body => BodyPieces.TextAsync(body, max, TestContext.Current.CancellationToken));
            Assert.Equal(pieces.SkipWhile(p => p.End <= known.End).Select(p => p.Text), resumed.Select(p => p.Text));
        }
    }

    [Theory]
    [InlineData("one two\nthree four five", 10, "one two\n", "three ", "four five")]
    [InlineData("onetwothree", 4, "onet", "woth", "ree")]
    [InlineData("ééé", 3, "é", "é", "é")]
    [InlineData("\uFEFFab", 5, "ab")]
    public async Task Text_Cut_PrefersLinesThenWordsThenCharacters(string text, int max, params string[] expected)
    {
        List<BodyPiece> pieces = await ReadAsync(null, text, body => BodyPieces.TextAsync(body, max, TestContext.Current.CancellationToken));
        Assert.Equal(expected, pieces.Select(p => p.Text));
    }

    [Fact]
    public async Task Lines_OneIsTooLong_IsRefusedWithoutWaitingForItsEnd()
    {
        Pipe pipe = new();
        await pipe.Writer.WriteAsync("ok\n"u8.ToArray(), TestContext.Current.CancellationToken);
        await pipe.Writer.WriteAsync(new byte[101], TestContext.Current.CancellationToken);
        await using IAsyncEnumerator<BodyPiece> lines = BodyPieces.LinesAsync(pipe.Reader, 100, TestContext.Current.CancellationToken).GetAsyncEnumerator(TestContext.Current.CancellationToken);
        Assert.True(await lines.MoveNextAsync());
        Assert.Equal("ok\n", lines.Current.Text);
        Assert.Equal(413, (await Assert.ThrowsAsync<ApiException>(async () => await lines.MoveNextAsync())).Status);
    }

    [Fact]
    public async Task Pieces_NotUtf8_AreRefused()
    {
        Pipe pipe = new();
        await pipe.Writer.WriteAsync(new byte[] { 0x61, 0xFF, 0x0A }, TestContext.Current.CancellationToken);
        await pipe.Writer.CompleteAsync();
        ApiException refusal = await Assert.ThrowsAsync<ApiException>(async () =>
        {
            await foreach (BodyPiece _ in BodyPieces.LinesAsync(pipe.Reader, 100, TestContext.Current.CancellationToken)) { }
        });
        Assert.Equal((400, "invalid_utf8"), (refusal.Status, refusal.Code));
    }

    static void AssertEnds(string text, List<BodyPiece> pieces)
    {
        long end = 0;
        Assert.All(pieces, p => Assert.Equal(end += Encoding.UTF8.GetByteCount(p.Text), p.End));
        Assert.Equal(Encoding.UTF8.GetByteCount(text), end);
    }

    static async Task<List<BodyPiece>> ReadAsync(Random? random, string text, Func<PipeReader, IAsyncEnumerable<BodyPiece>> read)
    {
        Pipe pipe = new(new PipeOptions(pauseWriterThreshold: 0));
        Task writing = WriteAsync();
        List<BodyPiece> pieces = await read(pipe.Reader).ToListAsync(TestContext.Current.CancellationToken);
        await writing;
        return pieces;

        async Task WriteAsync()
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            for (int at = 0; at < bytes.Length;)
            {
                int count = random is null ? bytes.Length : Math.Min(random.Next(1, 50), bytes.Length - at);
                await pipe.Writer.WriteAsync(bytes.AsMemory(at, count), TestContext.Current.CancellationToken);
                if (random?.Next(4) == 0) await Task.Yield();
                at += count;
            }
            await pipe.Writer.CompleteAsync();
        }
    }

    static string RandomText(Random random) => "t" + string.Concat(Enumerable.Range(0, random.Next(1, 60)).Select(_ => Words[random.Next(Words.Length)]));

    Random NewRandom()
    {
        int seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        return new(seed);
    }
}
