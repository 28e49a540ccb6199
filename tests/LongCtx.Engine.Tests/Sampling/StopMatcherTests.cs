using System.Text;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Tests.Sampling;

public sealed class StopMatcherTests
{
    // Over an alphabet of two or three letters overlaps and false starts are the rule.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Push_OfAnyTextInAnyPieces_FindsWhatIndexOfFinds(int seed)
    {
        Random random = new(seed);
        int matches = 0;
        for (int trial = 0; trial < 20_000; trial++)
        {
            int letters = 2 + random.Next(2);
            string Word(int length) => new([.. Enumerable.Range(0, length).Select(_ => (char)('a' + random.Next(letters)))]);
            string[] stops = [.. Enumerable.Range(0, 1 + random.Next(4)).Select(_ => Word(1 + random.Next(6)))];
            string text = Word(random.Next(30));
            string about = $"seed {seed}, trial {trial}: '{text}' with stops '{string.Join("', '", stops)}'";

            var found = stops.Select(s => (Stop: s, At: text.IndexOf(s, StringComparison.Ordinal))).Where(f => f.At >= 0)
                .OrderBy(f => f.At + f.Stop.Length).ThenByDescending(f => f.Stop.Length).FirstOrDefault();
            string expected = found.Stop is null ? text : text[..found.At];

            StopMatcher matcher = new(stops);
            StringBuilder let = new();
            for (int at = 0; at < text.Length;)
            {
                int length = Math.Min(random.Next(5), text.Length - at);
                let.Append(matcher.Push(text.Substring(at, length)));
                at += length;
                if (matcher.Matched is null) Assert.True(Held(text[..at], stops) == at - let.Length, about);
            }
            let.Append(matcher.Flush());

            Assert.True(expected == let.ToString(), about + $" let through '{let}'");
            Assert.True(found.Stop == matcher.Matched, about);
            Assert.True(expected.Length == matcher.Position, about);
            Assert.Equal("", matcher.Flush() + (found.Stop is null ? "" : matcher.Push("abc")));
            if (found.Stop is not null) matches++;
        }
        Assert.InRange(matches, 5_000, 19_000);
    }

    // What must be held back: the longest end of the text that begins a stop text; nothing more.
    static int Held(string text, string[] stops) =>
        Enumerable.Range(0, text.Length + 1).Last(n => stops.Any(s => s.Length > n && s.StartsWith(text[^n..], StringComparison.Ordinal)));

    [Fact]
    public void Push_WithoutStops_LetsEverythingThroughAtOnce()
    {
        StopMatcher matcher = new([]);
        Assert.Equal("abc", matcher.Push("abc"));
        Assert.Equal("", matcher.Flush());
        Assert.Equal(3, matcher.Position);
    }

    [Theory]
    [InlineData(new char[0])]
    [InlineData(new[] { '\uDC00', 'x' })]
    public void Constructor_OfAStopThatCannotBe_NamesTheParameter(char[] letters)
    {
        string stop = new(letters);
        LongCtxException error = Assert.Throws<LongCtxException>(() => new StopMatcher(["ok", stop]));
        Assert.Equal(("stop", ErrorCode.InvalidRequest), (error.Parameter, error.Code));
    }
}
